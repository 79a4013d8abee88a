"""Which executor computes: the variable MEMO_EXECUTOR, unless a run's configuration says otherwise."""

import os

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.executor import Executor

EXECUTOR_VARIABLE = "MEMO_EXECUTOR"
KINDS = ("local", "slurm")


def chosen_kind(given: str | None = None) -> str:
    """`local` or `slurm`: what is given, else MEMO_EXECUTOR, else local.

    Raises:
        ExecutorError: it is neither.
    """
    kind = given or os.environ.get(EXECUTOR_VARIABLE) or "local"
    if kind not in KINDS:
        where = "executor" if given else EXECUTOR_VARIABLE
        raise ExecutorError(f"{where}: given {kind!r}; expected one of {', '.join(KINDS)}")
    return kind


def make_executor(kind: str) -> Executor:
    """The executor of a kind.

    Args:
        kind: `local` or `slurm`.
    """
    if kind == "slurm":
        from memo_assets.compute.slurm.executor import SlurmExecutor

        return SlurmExecutor()
    from memo_assets.compute.local import LocalExecutor

    return LocalExecutor()
