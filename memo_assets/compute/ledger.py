"""What has been sent where: one small file per study, asset and split seed, so that no work is lost or done twice.

What belongs here: the entries, and the claims that tell whether the run that sent the work still lives. What does
not: deciding what follows from them (`dispatch`), asking a cluster (`slurm`).

A claim is a file that a run keeps locked for as long as its process lives: the kernel frees it whatever kills the run,
here or on another machine that shares the file system.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.items import NO_SEED, WorkItem
from memo_assets.compute.outcomes import read_result
from memo_assets.config import GpuStep
from memo_assets.store.files import read_json, write_json, write_text
from memo_assets.store.layout import Layout

ExecutorName = Literal["local", "slurm"]
State = Literal["claimed", "submitted", "failed", "recorded"]


class RunName(BaseModel):
    """A run of the platform.

    Attributes:
        id: Dagster's id of the run.
        root: id of the run that it executes again, through however many attempts; else its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    root: str


class Entry(BaseModel):
    """What is known of one seed of one asset.

    Attributes:
        unit_key: hash of all that the seed's result depends on.
        item: key of the work item that computes it.
        state: claimed (about to be sent), submitted, failed, or recorded (in Dagster).
        executor: who computes it.
        array: name of the array of tasks; also the claim.
        index: which task of the array.
        job: Slurm's id of the array; None before it is known, and where no Slurm is.
        run: the run that sent it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit_key: str
    item: str
    state: State
    executor: ExecutorName
    array: str
    index: int
    job: str | None = None
    run: RunName

    @property
    def task(self) -> str | None:
        """Slurm's id of the task, such as 17_3."""
        return None if self.job is None else f"{self.job}_{self.index}"

    @property
    def open(self) -> bool:
        """Whether the seed may still be computed, or its result lie there unrecorded."""
        return self.state in ("claimed", "submitted")


class Ledger:
    """The entries of one asset of one study.

    Args:
        layout: of the study.
        step: the asset.
    """

    def __init__(self, layout: Layout, step: GpuStep) -> None:
        self.folder = layout.work / "ledger" / step
        self.arrays = layout.work / "arrays" / step
        self.layout = layout
        self.step: GpuStep = step
        self._claims: dict[str, TextIOWrapper] = {}

    def read(self, unit: int) -> Entry | None:
        """Entry of a seed (or NO_SEED).

        Raises:
            ExecutorError: the file is broken; the message names it and says what to do.
        """
        path = self._path(unit)
        if not path.is_file():
            return None
        try:
            return Entry.model_validate(read_json(path))
        except (ValidationError, ValueError) as error:
            raise ExecutorError(
                f"{path} is no entry of the ledger ({str(error).splitlines()[0]}): see with `squeue --me` that no job "
                f"of this study is left, remove the file and materialize {self.layout.study}/{self.step} again"
            ) from error

    def write(self, entries: Mapping[int, Entry]) -> None:
        """Write the entries of some seeds."""
        for unit, entry in entries.items():
            write_json(self._path(unit), entry.model_dump())

    def mark(self, item: WorkItem, state: State, run: RunName, *, units: Iterable[int] | None = None) -> None:
        """Set the state of an item's seeds, and the run that brought them there.

        Args:
            item: the item that was sent; seeds that another item has taken over since are left alone.
            state: the new state.
            run: the run.
            units: only these seeds; by default all of the item.
        """
        for unit in item.units if units is None else units:
            entry = self.read(unit)
            if entry is not None and entry.open and entry.item == item.key:
                self.write({unit: entry.model_copy(update={"state": state, "run": run})})

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """Only one run at a time reads the entries, decides and sends work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def claim(self, array: str) -> bool:
        """Take over an array of tasks, or begin one; False if a run that lives has it."""
        if array in self._claims:
            return True
        path = self.arrays / array / "claim"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return False
        self._claims[array] = handle
        return True

    def release(self, *, but: Collection[str] = ()) -> None:
        """Give up the claims of this run, but for those of some arrays."""
        for array in [array for array in self._claims if array not in but]:
            self._claims.pop(array).close()

    def begin_array(self, array: str, items: list[WorkItem]) -> Path:
        """Write the items of a new array, each to its own work folder, and the list of them.

        Returns:
            The array's folder.
        """
        folder, paths = self.arrays / array, []
        for item in items:
            work = item.folder
            work.mkdir(parents=True, exist_ok=True)
            result = read_result(work)
            if result is not None and result.error is None:
                # A kill right after the result left what nobody needs any more: the item is done anew from the start.
                for leftover in ("state", "made"):
                    shutil.rmtree(work / leftover, ignore_errors=True)
            for old in ("result.json", "progress.json", "attempts.json"):
                (work / old).unlink(missing_ok=True)
            write_json(work / "item.json", item.model_dump(mode="json"))
            paths.append(work / "item.json")
        write_text(folder / "items.txt", "".join(f"{path}\n" for path in paths))
        return folder

    def forget_old_arrays(self) -> None:
        """Remove folders of arrays that no entry names and no run has: logs of attempts since repeated."""
        named = {entry.array for entry in map(self.read, self._units()) if entry is not None}
        for folder in self.arrays.iterdir() if self.arrays.is_dir() else ():
            if folder.name not in named and folder.name not in self._claims and self.claim(folder.name):
                self._claims.pop(folder.name).close()
                shutil.rmtree(folder, ignore_errors=True)

    def _units(self) -> list[int]:
        names = [path.stem for path in self.folder.glob("*.json")]
        return [NO_SEED if name == "all" else int(name.removeprefix("seed=")) for name in names]

    def _path(self, unit: int) -> Path:
        return self.folder / ("all.json" if unit == NO_SEED else f"seed={unit}.json")
