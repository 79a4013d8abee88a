"""The ledger: entries of seeds, and claims that live as long as the process that holds them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer

import pytest

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.items import NO_SEED, ItemResult, SeedResult, WorkItem
from memo_assets.compute.ledger import Entry, Ledger, RunName, State
from memo_assets.store.files import write_json
from memo_assets.store.layout import Layout

from .helpers import another_process
from .small_items import item, small_study

RUN = RunName(id="run-1", root="run-1")
OTHER = RunName(id="run-2", root="run-1")
CLAIMING = """
import sys
from pathlib import Path
from memo_assets.compute.ledger import Ledger
from memo_assets.store.layout import Layout
ledger = Ledger(Layout(Path(sys.argv[1]), "tiny"), "adapters")
assert ledger.claim("array") == (sys.argv[2] == "free")
print("ready", flush=True)
sys.stdin.read()
"""
PLANNING = """
import sys
from pathlib import Path
from memo_assets.compute.ledger import Ledger
from memo_assets.store.layout import Layout
ledger = Ledger(Layout(Path(sys.argv[1]), "tiny"), "adapters")
with ledger.planning():
    print("ready", flush=True)
    sys.stdin.read()
    (ledger.folder / "decided").touch()
"""


@pytest.fixture
def layout(warehouse: Path) -> Layout:
    return Layout(warehouse, "tiny")


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    made = Ledger(layout, "adapters")
    yield made
    made.release()


@pytest.fixture
def other(layout: Layout) -> Iterator[Ledger]:
    """The same ledger, opened by another run."""
    made = Ledger(layout, "adapters")
    yield made
    made.release()


def adapters(layout: Layout, *seeds: int) -> WorkItem:
    return item(layout.warehouse, small_study(), "adapters", list(seeds))


def entries(given: WorkItem, state: State = "submitted", array: str = "array") -> dict[int, Entry]:
    return {
        unit: Entry(
            unit_key=given.unit_keys()[unit],
            item=given.key,
            state=state,
            executor="slurm",
            array=array,
            index=3,
            job="17",
            run=RUN,
        )
        for unit in given.units
    }


def states(ledger: Ledger, units: Sequence[int]) -> list[tuple[State, str]]:
    found = [ledger.read(unit) for unit in units]
    return [(entry.state, entry.run.id) for entry in found if entry is not None]


def test_entries_come_back_as_they_were(layout: Layout, ledger: Ledger) -> None:
    written = entries(adapters(layout, 2, 3))
    ledger.write(written)
    again = Ledger(layout, "adapters")
    assert {unit: again.read(unit) for unit in (2, 3)} == written
    assert again.read(1) is None
    assert Ledger(layout, "logits").read(2) is None
    assert Ledger(Layout(layout.warehouse, "other"), "adapters").read(2) is None


def test_a_step_without_partitions_has_one_entry(layout: Layout) -> None:
    ledger = Ledger(layout, "base_model")
    given = item(layout.warehouse, small_study(), "adapters", []).model_copy(update={"step": "base_model"})
    ledger.write(entries(given))
    assert ledger.read(NO_SEED) == entries(given)[NO_SEED]
    assert ledger.read(0) is None


def test_a_task_has_an_id_once_slurm_has_given_one(layout: Layout) -> None:
    entry = entries(adapters(layout, 2))[2]
    assert entry.task == "17_3"
    assert entry.model_copy(update={"job": None}).task is None


@pytest.mark.parametrize(
    ("state", "is_open"), [("claimed", True), ("submitted", True), ("failed", False), ("recorded", False)]
)
def test_seeds_under_way_are_open(layout: Layout, state: State, is_open: bool) -> None:
    assert entries(adapters(layout, 2), state)[2].open is is_open


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b'{"state": "lost"}', b"\xff"])
def test_a_broken_entry_is_named_with_what_to_do(ledger: Ledger, content: bytes) -> None:
    path = ledger.folder / "seed=2.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ExecutorError) as caught:
        ledger.read(2)
    message = str(caught.value)
    assert message.startswith(f"{path} is no entry of the ledger (")
    assert message.endswith(
        "): see with `squeue --me` that no job of this study is left, remove the file and materialize tiny/adapters again"
    )
    assert "\n" not in message


def test_mark_sets_state_and_run_of_the_named_seeds(layout: Layout, ledger: Ledger) -> None:
    given = adapters(layout, 0, 1)
    ledger.write(entries(given))
    ledger.mark(given, "recorded", OTHER, units=[1])
    assert states(ledger, [0, 1]) == [("submitted", "run-1"), ("recorded", "run-2")]
    before = ledger.read(0)
    assert before is not None
    ledger.mark(given, "failed", OTHER)
    # What is recorded stays so; a seed without an entry gets none.
    assert states(ledger, [0, 1]) == [("failed", "run-2"), ("recorded", "run-2")]
    assert ledger.read(0) == before.model_copy(update={"state": "failed", "run": OTHER})
    ledger.mark(adapters(layout, 2), "failed", OTHER)
    assert ledger.read(2) is None


def test_mark_leaves_seeds_alone_that_another_item_has_taken_over(layout: Layout, ledger: Ledger) -> None:
    old, new = adapters(layout, 0, 1), adapters(layout, 1)
    ledger.write(entries(old))
    ledger.write(entries(new))
    ledger.mark(old, "failed", OTHER)
    assert states(ledger, [0, 1]) == [("failed", "run-2"), ("submitted", "run-1")]


def test_a_claim_is_had_once_in_a_process_and_again_after_its_release(ledger: Ledger, other: Ledger) -> None:
    assert ledger.claim("array")
    assert ledger.claim("array")  # it has it already
    assert not other.claim("array")
    assert other.claim("another")
    ledger.release()
    assert other.claim("array")
    assert not ledger.claim("array")


def test_release_keeps_the_named_claims(ledger: Ledger, other: Ledger) -> None:
    for array in ("a", "b", "c"):
        assert ledger.claim(array)
    ledger.release(but={"b"})
    assert [array for array in ("a", "b", "c") if other.claim(array)] == ["a", "c"]


def test_a_claim_of_another_process_is_refused_until_that_is_killed(layout: Layout, ledger: Ledger) -> None:
    with another_process(CLAIMING, str(layout.warehouse), "free") as process:
        assert not ledger.claim("array")
        process.kill()
        process.wait()
        assert ledger.claim("array")
        with another_process(CLAIMING, str(layout.warehouse), "taken"):
            pass


def test_only_one_run_at_a_time_plans(layout: Layout, ledger: Ledger) -> None:
    with another_process(PLANNING, str(layout.warehouse)) as process:
        assert process.stdin is not None
        allowed = Timer(0.3, process.stdin.close)
        allowed.start()
        with ledger.planning():
            assert (ledger.folder / "decided").exists()
        allowed.join()


def test_a_new_array_begins_without_what_earlier_attempts_reported(layout: Layout, ledger: Ledger) -> None:
    items = [adapters(layout, 0, 1), adapters(layout, 2)]
    for old in ("result.json", "progress.json", "attempts.json"):
        write_json(items[0].folder / old, {"broken": 1})
    saved = items[0].folder / "state" / "training.safetensors"
    saved.parent.mkdir()
    saved.write_bytes(b"half way")
    folder = ledger.begin_array("array", items)
    assert folder == layout.work / "arrays" / "adapters" / "array"
    lines = (folder / "items.txt").read_text().splitlines()
    assert [WorkItem.model_validate_json(Path(line).read_text()) for line in lines] == items
    assert {path.name for path in items[0].folder.iterdir()} == {"item.json", "state"}
    assert saved.read_bytes() == b"half way"


@pytest.mark.parametrize(("error", "kept"), [(None, False), ("out of memory", True)])
def test_what_finished_work_has_left_behind_is_not_resumed(
    layout: Layout, ledger: Ledger, error: str | None, kept: bool
) -> None:
    given = adapters(layout, 0)
    seeds = {} if error else {0: SeedResult(data_version="v")}
    write_json(given.folder / "result.json", ItemResult(seeds=seeds, error=error).model_dump(mode="json"))
    for name in ("state", "made"):
        (given.folder / name).mkdir()
        (given.folder / name / "file").touch()
    ledger.begin_array("array", [given])
    assert [(given.folder / name).exists() for name in ("state", "made")] == [kept, kept]


def test_arrays_that_no_entry_names_and_nobody_has_are_forgotten(
    layout: Layout, ledger: Ledger, other: Ledger
) -> None:
    for array in ("named", "own", "of another run", "old"):
        ledger.begin_array(array, [adapters(layout, 0)])
    ledger.write(entries(adapters(layout, 0), "failed", "named"))
    assert ledger.claim("own")
    assert other.claim("of another run")
    ledger.forget_old_arrays()
    assert {path.name for path in ledger.arrays.iterdir()} == {"named", "own", "of another run"}
    other.release()
    ledger.forget_old_arrays()
    assert {path.name for path in ledger.arrays.iterdir()} == {"named", "own"}
    assert not other.claim("own")


def test_there_is_nothing_to_forget_before_the_first_array(ledger: Ledger) -> None:
    ledger.forget_old_arrays()
    assert not ledger.arrays.exists()
