"""The database is gone: all tables of all studies come back from the files, and nothing is trained."""

from memo_assets_tests.faults.command import long_form
from memo_assets_tests.faults.conftest import CopyOf, Finished
from memo_assets_tests.faults.sameness import assert_same


@long_form  # the short form damages the database instead, which ends in the same way
def test_a_lost_database_is_loaded_anew_and_nothing_is_trained(finished: Finished, copy_of: CopyOf) -> None:
    there = copy_of("tiny")
    (there.warehouse / "memo.duckdb").unlink()
    said = there.well().out
    assert "tiny/shadow_logits" in said
    assert "tiny/adapters" not in said
    assert "tiny/logits" not in said
    assert_same(there.warehouse, finished("tiny").warehouse, "tiny")
