"""Small studies for tests: as dictionaries, as files, as `Study`."""

import copy
from pathlib import Path
from typing import Any

import yaml

from memo_assets.config import Study
from memo_assets.study_file import COMPONENT_TYPE, FILE_NAME

REMOVED = object()

DIGITS: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny digits",
    "data": {"source": "digits", "items": 90},
    "model": {"kind": "mlp", "width": 8, "layers": 2},
    "training": {"learning_rate": 0.01, "batch_size": 8, "epochs": 2, "checkpoints": [0, 1, 2]},
    "shadows": {"models": 4},
}
TABLE: dict[str, Any] = {
    **DIGITS,
    "name": "own",
    "title": "A table",
    "data": {"source": "table", "path": "rows.csv", "text": "text", "label": "label"},
    "prompt": {"templates": ["{text}?"]},
    "model": {"kind": "pretrained", "name": "some/model"},
    "lora": {"rank": 2, "alpha": 4.0},
}
CITIES: dict[str, Any] = {
    **TABLE,
    "name": "towns",
    "data": {"source": "cities", "countries": ["BR", "CN"], "items": 20},
    "model": {
        "kind": "tiny_llama",
        "sentences": ["{text} is in {label}."],
        "epochs": 1,
        "learning_rate": 0.001,
    },
}


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values at dotted paths; REMOVED takes a field out."""
    attributes = copy.deepcopy(base)
    for path, value in changes.items():
        *blocks, field = path.split(".")
        place = attributes
        for block in blocks:
            place = place.setdefault(block, {})
        if value is REMOVED:
            del place[field]
        else:
            place[field] = value
    return attributes


def study(base: dict[str, Any], changes: dict[str, Any] | None = None) -> Study:
    """A valid study with some other values."""
    return Study.model_validate(changed(base, changes or {}))


def write_study(folder: Path, attributes: dict[str, Any] | str) -> Path:
    """Write a study file: attributes in block style and in the order given, or the text as it is."""
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(attributes, str):
        path.write_text(attributes, encoding="utf-8")
    else:
        document = {"type": COMPONENT_TYPE, "attributes": attributes}
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def line_of(path: Path, start: str) -> int:
    """Number of the one line that begins with a text, white space aside."""
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, start=1) if line.strip().startswith(start)]
    return number
