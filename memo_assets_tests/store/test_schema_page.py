"""The page of tables, views and macros: what the repository holds is what the database says of itself."""

from pathlib import Path

import duckdb

from memo_assets.store.macros import MACROS
from memo_assets.store.schema import TABLES, VIEWS
from memo_assets.store.schema_page import page_of, schema_page
from memo_assets.store.tables import publish, reading

DOCS = Path(__file__).parents[2] / "docs" / "schema.md"


def test_the_page_of_the_repository_is_that_of_an_empty_warehouse(warehouse: Path) -> None:
    with publish():
        pass
    with reading() as connection:
        page = page_of(connection)
    assert page == schema_page()
    assert page == DOCS.read_text(encoding="utf-8"), "write docs/schema.md anew: make docs"


def test_every_table_view_and_column_is_on_the_page() -> None:
    sections = {part.split("\n", 1)[0]: part for part in DOCS.read_text(encoding="utf-8").split("\n### ")[1:]}
    assert list(sections) == [*TABLES, *VIEWS, *MACROS]
    for name, described in {**TABLES, **VIEWS, **MACROS}.items():
        rows = [line for line in sections[name].splitlines() if line.startswith("| `")]
        assert rows == [
            f"| `{column.name}` | {column.type} | {column.unit} | {column.comment} |"
            for column in described.columns
        ]
    assert "Key: `study`, `sample_id` (PRIMARY KEY); written by the asset `samples`." in sections["samples"]
    assert "`FROM log_lira_of(of_study, target)`" in sections["log_lira_of"]
    assert "`sample_id` (checked while loading); written by the asset `shadow_logits`." in sections["logits"]


def test_another_comment_is_another_page() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE a (b INTEGER, c DOUBLE)")
        bare = page_of(connection)
        connection.execute("COMMENT ON TABLE a IS 'One row. Asset: x. Key: (b, c).'")
        connection.execute("COMMENT ON COLUMN a.c IS 'A | bar. Unit: nats.'")
        page = page_of(connection)
    assert "| `c` | DOUBLE |  |  |" in bare
    assert "| `c` | DOUBLE | nats | A \\| bar. |" in page
    assert "One row.\n\nKey: `b`, `c` (checked while loading); written by the asset `x`.\n" in page
