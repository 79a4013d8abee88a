"""Calling the command `memo` in this process."""

from typer.testing import CliRunner, Result

from memo_assets.cli import app
from memo_assets.cli_output import console


def memo(*arguments: str, width: int = 200) -> Result:
    """Run the command on a screen of some width; nothing but a chosen exit may end it."""
    console.width = width  # a console keeps the width that it was made with
    result = CliRunner().invoke(app, list(arguments), env={"NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The one error message of a command that must fail."""
    result = memo(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").strip()
