"""Calling the command `memo` in this process."""

from typer.testing import CliRunner, Result

from memo_assets.cli import app


def memo(*arguments: str) -> Result:
    """Run the command; nothing but a chosen exit may end it."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The one error message of a command that must fail."""
    result = memo(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").strip()
