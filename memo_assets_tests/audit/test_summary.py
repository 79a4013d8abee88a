"""The schema of the summary is the one in the documentation, and the hash covers every field."""

import json
from pathlib import Path

import pytest

from memo_assets.audit.summary import AuditSummary, json_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "audit.schema.json"


def test_the_documented_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json_schema(), "make docs writes it"


def rate(value: float | None = 0.5) -> dict:
    return {
        "value": value,
        "low": value,
        "high": value,
        "successes": 1,
        "trials": 2,
        "method": "m",
        "refused": None,
    }


def record() -> dict:
    return {
        "created": "2026-01-01", "data": {"source": "s", "rows": 2, "sha256": "x", "text_column": "t", "label_column": "l",
        "labels": {"a": 1, "b": 1}, "answers": "labels", "answers_in_words": "w", "template": "{text}", "cut_prompts": 0},
        "model": {"name": "m", "version": "v", "parameters": 1, "note": None},
        "run": {"rule": "running", "drop": 0.95, "reached": True, "epoch": 0.5, "steps": 1, "steps_of_all_epochs": 2,
                "reference_loss": 1.0, "median_loss": 0.1, "message": "m"},
        "risk": {"rule": "r", "share": rate(), "unscored": 0, "suspected_label_errors": 0, "exact_duplicates": 0},
        "controls": [], "controls_refused": "few", "calibration": None,
        "cost": {"seconds": 1.0, "seconds_by_part": {}, "peak_memory_bytes": 1, "samples_trained": 1, "samples_run_forward": 1,
                 "of_full_run": 0.5},
        "tested": [], "not_tested": [], "settings": {}, "versions": {},
    }  # fmt: skip


def leaves(value: object, path: tuple = ()) -> list[tuple]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    return [path]


@pytest.mark.parametrize(
    "path",
    [leaf for leaf in leaves(record()) if leaf[0] not in ("controls", "tested", "not_tested", "calibration")],
)
def test_every_field_counts_in_the_hash(path: tuple) -> None:
    sealed = AuditSummary.model_validate(record()).sealed({"a.csv": "h"})
    assert sealed.hash() == sealed.content_hash
    changed = json.loads(sealed.model_dump_json())
    place = changed
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    other = {"rule": "checkpoint", "answers": "letters"}.get(path[-1], "other")
    place[path[-1]] = (
        not old if isinstance(old, bool) else old / 2 if isinstance(old, float) else old + 1 if isinstance(old, int)
        else {"k": 1} if path[-1] == "seconds_by_part" else {"k": "v"} if isinstance(old, dict) else other
    )  # fmt: skip
    assert place[path[-1]] != old
    assert AuditSummary.model_validate(changed).hash() != sealed.content_hash


def test_nothing_unknown_and_no_rate_above_one() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        AuditSummary.model_validate({**record(), "more": 1})
    bad = record()
    bad["risk"]["share"] = rate(1.5)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        AuditSummary.model_validate(bad)
