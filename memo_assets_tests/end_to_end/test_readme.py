"""The README's SQL runs as printed and answers."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memo_assets.cli import app
from memo_assets.measures.catalog import PREDICTORS
from memo_assets_tests.end_to_end.conftest import Platform

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("platform")]
README = Path(__file__).parents[2] / "README.md"
QUERIES = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_there_are_five_queries():
    assert len(QUERIES) == 5


@pytest.mark.parametrize("query", QUERIES)
def test_query_runs_as_printed(platform: Platform, query: str):
    result = CliRunner().invoke(app, ["sql", query, "--format", "json"])
    assert result.exit_code == 0, result.output
    assert result.output.count("{") >= 2


def test_every_predictor_is_explained():
    text = README.read_text(encoding="utf-8")
    for name, predictor in PREDICTORS.items():
        assert f"| `{name}` |" in text
        assert predictor.meaning in text


def test_paths_named_in_the_readme_exist():
    root = README.parent
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (root / path).exists(), path
