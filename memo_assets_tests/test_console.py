"""What the command line shows while a study runs."""

import io

from rich.console import Console

from memo_assets.console import LiveProgress
from memo_assets_tests.studies import DIGITS, study


def test_a_warning_is_a_line_that_stays_and_holds_every_bracket() -> None:
    shown = io.StringIO()
    with LiveProgress(Console(file=shown, width=60)) as watcher:
        watcher.check_warned(study(DIGITS), "logits", f"models [1, 2] of many {'x' * 80}")
    assert shown.getvalue().rstrip("\n") == f"warning tiny/logits: models [1, 2] of many {'x' * 80}"
