"""The same warehouse in other surroundings: another path, another time zone, another locale. Nothing becomes stale."""

import json
import subprocess
from dataclasses import replace

import pytest

from memo_assets_tests.faults.command import LONG, Place
from memo_assets_tests.faults.conftest import CopyOf, Finished
from memo_assets_tests.faults.sameness import assert_same

SURROUNDINGS = {
    "east": {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
    "west": {"TZ": "Pacific/Niue"},
    "turkish": {"LC_ALL": "tr_TR.UTF-8"},
}


def not_fresh(there: Place) -> list[str]:
    """Assets of which `memo status` calls anything but fresh."""
    ended = there.memo("status", str(there.study), "--format", "json")
    assert ended.code == 0, ended.err
    (study,) = json.loads(ended.out)
    return [asset["asset"] for asset in study["assets"] if asset["not_fresh"]]


@pytest.mark.parametrize("name", SURROUNDINGS if LONG else ["east"])
def test_another_path_time_zone_and_locale_change_nothing(
    finished: Finished, copy_of: CopyOf, name: str
) -> None:
    locale = SURROUNDINGS[name].get("LC_ALL", "C")
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout
    if locale.replace("-", "").lower() not in known.lower().split():
        pytest.skip(f"this machine has no locale {locale}")
    there = copy_of("tiny")
    moved = there.warehouse.with_name("a folder with spaces = 2, and ünï")
    there.warehouse.rename(moved)
    there = replace(there, warehouse=moved, environment=SURROUNDINGS[name])
    assert not_fresh(there) == []
    page = (there.artifacts / "report.html").read_text(encoding="utf-8")
    assert page == (finished("tiny").artifacts / "report.html").read_text(encoding="utf-8")
    (there.artifacts / "logits" / "seed=2.parquet").unlink()
    if LONG:
        (there.artifacts / "adapters" / "seed=4" / "training.json").unlink()
        (there.warehouse / "memo.duckdb").unlink()
    said = there.well().out
    assert f"report of tiny: {there.artifacts / 'report.html'}" in said
    assert_same(there.warehouse, finished("tiny").warehouse, "tiny")
    assert not_fresh(replace(there, environment={})) == []
