"""The rule that makes the list of checkpoints."""

from pathlib import Path
from typing import Any

import pytest

from memo_assets.graph import code_versions
from memo_assets.study_file import StudyError, read_study
from memo_assets_tests.studies import DIGITS, changed, line_of, study, write_study


@pytest.mark.parametrize(
    ("epochs", "first_epoch", "every", "expected"),
    [
        (10, 5, 1, [0, 0.2, 0.4, 0.6, 0.8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),  # the paper's
        (10, 2, 4, [0, 0.5, 1, 4, 8, 10]),
        (4, 1, 2, [0, 1, 2, 4]),
        (1, 4, 1, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_the_first_epoch_s_parts_then_every_nth_and_the_last(
    epochs: int, first_epoch: int, every: int, expected: list[float]
) -> None:
    rule = {"first_epoch": first_epoch, "every": every}
    by_rule = study(changed(DIGITS, {"training.epochs": epochs, "training.checkpoints": rule}))
    by_list = study(changed(DIGITS, {"training.epochs": epochs, "training.checkpoints": expected}))
    assert by_rule == by_list
    assert code_versions(by_rule) == code_versions(by_list)


@pytest.mark.parametrize(
    "rule", [{"first_epoch": 5}, {"first_epoch": 0, "every": 1}, {"first_epoch": 5, "every": 1.5}, {"n": 1}]
)
def test_another_rule_is_refused(tmp_path: Path, rule: dict[str, Any]) -> None:
    path = write_study(tmp_path, changed(DIGITS, {"training.checkpoints": rule}))
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert str(caught.value) == (
        f"{path}:{line_of(path, 'training')}: training: checkpoints: given {rule}; expected a list of epochs, or the rule "
        "{first_epoch: parts, every: epochs} with whole numbers from 1"
    )
