"""Files of work in hand with any content: what they say, a named error, or as if they were not there; never a wrong state."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.items import ItemResult, Progress, SeedResult, WorkItem
from memo_assets.compute.ledger import Entry, Ledger, RunName
from memo_assets.compute.outcomes import read_progress, read_result
from memo_assets.store.layout import Layout
from memo_assets_tests.studies import DIGITS, study

_BOUNDED = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example writes its own file
)
ENTRY = Entry(
    unit_key="k",
    item="i",
    state="submitted",
    executor="slurm",
    array="a",
    index=0,
    job="1",
    run=RunName(id="r", root="r"),
).model_dump()
RESULT = ItemResult(seeds={0: SeedResult(data_version="v", facts={"loss": 0.5})}, seconds=1.0).model_dump(
    mode="json"
)
PROGRESS = Progress(done=1, total=2, unit="steps").model_dump()
ITEM = WorkItem(
    study=study(DIGITS),
    step="adapters",
    seeds=[0, 1],
    code_version="c",
    source="s",
    inputs={"a": "b"},
    warehouse=Path("/w"),
).model_dump(mode="json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("failed"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed_json(draw: st.DrawFn, base: dict[str, Any]) -> bytes:
    """A record with a field changed, taken out or added, cut off, or with a byte changed."""
    made = json.loads(json.dumps(base))
    action = draw(st.sampled_from(["change", "remove", "add", "keep"]))
    field = draw(st.sampled_from(sorted(made)))
    if action == "change":
        made[field] = draw(JSON)
    elif action == "remove":
        del made[field]
    elif action == "add":
        made[draw(st.text(max_size=5))] = draw(JSON)
    content = json.dumps(made).encode()
    at = draw(st.integers(0, len(content)))
    ending = draw(st.sampled_from(["", "cut", "byte"]))
    if ending == "cut":
        return content[:at]
    return content[:at] + draw(st.binary(max_size=2)) + content[at + 1 :] if ending == "byte" else content


def same(content: bytes, found: Any) -> bool:
    """Whether a record holds what its file says, all of it; "1" and 1 say the same."""
    return _equal(found.model_dump(mode="json"), json.loads(content))


def _equal(kept: Any, said: Any) -> bool:
    if isinstance(said, dict):
        return kept.keys() >= said.keys() and all(_equal(kept[key], value) for key, value in said.items())
    return kept == said or (isinstance(said, str) and kept == type(kept)(said))


@_BOUNDED
@given(
    content=st.binary(max_size=40) | JSON.map(lambda made: json.dumps(made).encode()) | changed_json(ENTRY)
)
@example(content=b"[" * 100_000)
@example(content=b'{"index": ' + b"1" * 5000 + b"}")
def test_an_entry_is_what_its_file_says_or_a_named_error(tmp_path: Path, content: bytes) -> None:
    ledger = Ledger(Layout(tmp_path, "tiny"), "adapters")
    path = ledger.folder / "seed=3.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        entry = ledger.read(3)
    except ExecutorError as error:
        _names(error, f"{path} is no entry of the ledger (")
        return
    assert entry is not None
    assert same(content, entry)
    assert ledger.read(4) is None


@_BOUNDED
@given(
    content=st.binary(max_size=40) | JSON.map(lambda made: json.dumps(made).encode()) | changed_json(RESULT)
)
@example(content=b"[" * 100_000)
@example(content=b'{"seconds": NaN, "error": "x"}')
@example(content=b"{}")
def test_a_result_is_what_its_file_says_or_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    found = read_result(tmp_path)
    assert found is None or (same(content, found) and bool(found.seeds or found.error))


@_BOUNDED
@given(
    content=st.binary(max_size=40) | JSON.map(lambda made: json.dumps(made).encode()) | changed_json(PROGRESS)
)
@example(content=b"[" * 100_000)
def test_progress_is_what_its_file_says_or_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "progress.json").write_bytes(content)
    found = read_progress(tmp_path)
    assert found is None or same(content, found)


@_BOUNDED
@given(content=st.binary(max_size=40) | JSON.map(lambda made: json.dumps(made).encode()) | changed_json(ITEM))
def test_an_item_is_valid_or_refused_as_a_whole(content: bytes) -> None:
    try:
        item = WorkItem.model_validate_json(content)
    except ValidationError:
        return
    assert WorkItem.model_validate_json(item.model_dump_json()) == item
    assert item.folder.is_relative_to(item.warehouse / "artifacts" / item.study.name / "work")


@pytest.mark.parametrize("seeds", [["../../x"], [0.5], "01", None])
def test_an_item_takes_no_seed_that_is_no_number(seeds: object) -> None:
    with pytest.raises(ValidationError):
        WorkItem.model_validate_json(json.dumps({**ITEM, "seeds": seeds}))


def _names(error: Exception, start: str) -> None:
    assert str(error).startswith(start)
    assert "\n" not in str(error)
