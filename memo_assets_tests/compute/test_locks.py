"""Locks of split seeds; other workers are processes, since locks of one process never conflict."""

import time
from pathlib import Path
from threading import Timer

import pytest

from memo_assets.compute import locks
from memo_assets.compute.items import WorkItem
from memo_assets.compute.locks import Busy, lock_file, seeds_locked
from memo_assets_tests.studies import CITIES, study

from .helpers import another_worker
from .small_items import item, small_study


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.0)


def adapters(warehouse: Path, *seeds: int) -> WorkItem:
    return item(warehouse, small_study(), "adapters", list(seeds))


@pytest.mark.usefixtures("impatient")
def test_a_seed_of_another_worker_is_refused_by_name_and_its_neighbours_are_not(warehouse: Path) -> None:
    with another_worker(adapters(warehouse, 1, 2)):
        for seeds, name in [((0, 1), 1), ((2, 3), 2), ((1, 2), 1), ((2,), 2)]:
            sentence = (
                f"^another worker is computing tiny/adapters, seed {name} right now; wait for it or end it$"
            )
            with pytest.raises(Busy, match=sentence), seeds_locked(adapters(warehouse, *seeds)):
                pass
        with seeds_locked(adapters(warehouse, 0, 3)):
            pass


@pytest.mark.usefixtures("impatient")
def test_steps_and_studies_have_locks_of_their_own(warehouse: Path) -> None:
    other = small_study({"name": "other"})
    with (
        another_worker(adapters(warehouse, 0)),
        seeds_locked(item(warehouse, small_study(), "logits", [0])),
        seeds_locked(item(warehouse, other, "adapters", [0])),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_step_without_partitions_is_locked_as_a_whole(warehouse: Path) -> None:
    base = item(warehouse, study(CITIES), "base_model", [])
    sentence = "^another worker is computing towns/base_model right now; wait for it or end it$"
    with another_worker(base), pytest.raises(Busy, match=sentence), seeds_locked(base):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_is_refused_one_seed_keeps_none(warehouse: Path) -> None:
    with another_worker(adapters(warehouse, 1)):
        with pytest.raises(Busy), seeds_locked(adapters(warehouse, 0, 1)):
            pass
        with another_worker(adapters(warehouse, 0)):
            pass


def test_locks_are_free_after_the_block_whatever_ended_it(warehouse: Path) -> None:
    given = adapters(warehouse, 0)
    with pytest.raises(KeyError), seeds_locked(given):
        raise KeyError
    with another_worker(given):
        pass
    with seeds_locked(given):
        assert lock_file(given).is_file()


def test_a_worker_waits_a_moment_for_one_that_is_about_to_end(warehouse: Path) -> None:
    given = adapters(warehouse, 0)
    with another_worker(given) as process:
        killer = Timer(0.6, process.kill)
        killer.start()
        before = time.monotonic()
        with seeds_locked(given):
            assert time.monotonic() - before > 0.3
        killer.join()


def test_a_worker_gives_up_after_a_moment(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.5)
    given = adapters(warehouse, 0)
    with another_worker(given):
        before = time.monotonic()
        with pytest.raises(Busy), seeds_locked(given):
            pass
        assert 0.5 < time.monotonic() - before < 2
