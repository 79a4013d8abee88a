"""The block `nightly` of a study file, and its owners: what is taken, what is refused, and that nothing becomes stale."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from dagster._core.definitions.utils import is_valid_owner
from dagster._utils.schedules import is_valid_cron_schedule
from pydantic import ValidationError

from memo_assets.config import Nightly, Study
from memo_assets.graph import code_versions
from memo_assets.study_file import StudyError, load_studies, read_study
from memo_assets_tests.studies import DIGITS, changed, line_of, study, write_study


def test_no_study_that_comes_with_the_package_is_nightly() -> None:
    assert [name for name, one in load_studies().items() if one.nightly is not None] == []


def test_an_empty_block_is_two_oclock_every_night_without_a_limit(tmp_path: Path) -> None:
    read = read_study(write_study(tmp_path, changed(DIGITS, {"nightly": {}})))
    assert read.nightly == Nightly(cron="0 2 * * *", timezone="UTC", max_seeds_per_night=None)
    assert code_versions(read) == code_versions(study(DIGITS))
    assert "nightly" not in study(DIGITS).settings()


CRONS = [
    "* * * * *",
    "0 2 * * *",
    "*/15 22-23,0-5 * * *",
    "30 1 1,15 * *",
    "0 3 * * 1-5",
    "0 3 * * MON-fri",
    "0 3 * * 0,7",
    "5 4 29 feb *",
    "0 0 1-31/2 jan-dec/3 *",
    "59 23 31 12 6",
    "0 2 L * *",
    "0 2 * * fri#1",
]
BAD_CRONS = {
    "0 2 * *": "expected five fields of cron (minute, hour, day of the month, month, day of the week), such as 0 2 * * *",
    "0 2 * * * *": "expected five fields",
    "": "expected five fields",
    "@daily": "expected five fields",
    "60 2 * * *": "bad minute; expected five fields",
    "0 24 * * *": "bad hour",
    "0 2 0 * *": "bad day-of-month",
    "0 2 * 13 *": "bad month",
    "0 2 * * sunday": "bad day-of-week",
    "0 5-2 * * *": "bad hour",
    "*/0 * * * *": "bad minute",
    "0 2,,3 * * *": "bad hour",
    "0 2 -1 * *": "bad day-of-month",
    "0 2 30 2 *": "bad day-of-month",
    "0 2 31 4,6 *": "bad day-of-month",
    "0 2 LW * *": "LW is not known here; expected five fields",
    "0 2 * * 5l": "5l is not known here",
}


@pytest.mark.parametrize("cron", CRONS)
def test_what_is_taken_dagster_takes_too(cron: str) -> None:
    assert Nightly(cron=cron).cron == cron
    assert is_valid_cron_schedule(cron)


def test_any_line_put_together_of_good_fields_is_good_for_dagster() -> None:
    fields = (
        ["*", "0", "*/7", "1-5,59"],
        ["*", "23", "2-4/2"],
        ["*", "1", "31", "5-29/3"],
        ["*", "2", "jan-mar", "12"],
        ["*", "7", "sun", "tue-sat", "0-7/2"],
    )
    taken = 0
    for parts in itertools.product(*fields):
        cron = " ".join(parts)
        try:
            Nightly(cron=cron)
        except ValidationError:
            assert parts[2:4] == ("31", "2")
            continue
        taken += 1
        assert is_valid_cron_schedule(cron), cron
    assert taken == 4 * 3 * (4 * 4 - 1) * 5


@pytest.mark.parametrize("cron", BAD_CRONS)
def test_a_bad_time_is_refused_with_the_part_that_is_wrong(cron: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, changed(DIGITS, {"nightly.cron": cron}))
    with pytest.raises(StudyError) as caught:
        read_study(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line_of(path, 'cron:')}: nightly.cron: given {cron!r}; ")
    assert BAD_CRONS[cron] in message


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "timezone": (
        {"nightly.timezone": "Mars/Olympus"},
        "nightly.timezone: given 'Mars/Olympus', which is no time zone; expected a name such as UTC or Europe/Paris",
    ),
    "max_seeds_per_night": (
        {"nightly.max_seeds_per_night": 0},
        "nightly.max_seeds_per_night: given 0; input should be greater than or equal to 1",
    ),
    "at": (
        {"nightly.at": "02:00"},
        "nightly.at: unknown field; allowed here: cron, max_seeds_per_night, timezone",
    ),
    "nightly": (
        {"nightly": True},
        "nightly: given True; expected a block with fields among cron, max_seeds_per_night, timezone",
    ),
    "owners": ({"owners": ["me"]}, "owners: given 'me'; expected an e-mail address, or team:NAME"),
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_bad_field_is_refused(field: str, tmp_path: Path) -> None:
    changes, message = REFUSED[field]
    path = write_study(tmp_path, changed(DIGITS, changes))
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert str(caught.value) == f"{path}:{line_of(path, f'{field}:')}: {message}"


@pytest.mark.parametrize("owner", ["a.person@example.org", "x+y@sub.example.com", "team:privacy"])
def test_owners_that_are_taken_dagster_takes_too(owner: str) -> None:
    assert Study.model_validate(changed(DIGITS, {"owners": [owner]})).owners == [owner]
    assert is_valid_owner(owner)
