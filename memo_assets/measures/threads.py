"""How work that does not hold Python's lock is given to threads: as many as torch has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")


def in_threads(task: Callable[[_Item], None], items: Iterable[_Item]) -> None:
    """Run a task for every item, on as many threads as torch has.

    OMP_NUM_THREADS and `torch.set_num_threads` decide how many that are: one a process where processes run side by side.

    Args:
        task: what to do; the first error it raises is raised here.
        items: one call each.
    """
    import torch

    todo = list(items)
    n_threads = min(torch.get_num_threads(), len(todo))
    if n_threads <= 1:
        for item in todo:
            task(item)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(task, todo):
            pass
