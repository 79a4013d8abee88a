"""The batch script of an array of tasks, written by submitit; submission by submitit too.

What belongs here: from settings to the text that sbatch gets, and sbatch's answer. What does not: what runs on the
node (`node`, `worker`). submitit would run pickled functions; here its scripts run the worker on JSON files instead,
which takes two of its private names: the tests cover them, and pyproject.toml pins its minor release.
"""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor as Submitit
from submitit.slurm.slurm import _make_sbatch_string

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.slurm.node import REQUEUES_VARIABLE, TIME_VARIABLE
from memo_assets.compute.threads import thread_variables
from memo_assets.config import Slurm
from memo_assets.store.umask import UMASK_VARIABLE, chosen_umask

WORKER = "memo_assets.compute.worker"
PROBE = "memo_assets.compute.slurm.probe"


def array_script(settings: Slurm, folder: Path, *, name: str, tasks: int, threads: int) -> str:
    """Batch script of an array of work items.

    Args:
        settings: of the study's asset.
        folder: holds `items.txt`, one item file a line; logs go there.
        name: of the job.
        tasks: lines of `items.txt`.
        threads: CPU threads of one worker.
    """
    line = f'$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {shlex.quote(str(folder / "items.txt"))})'
    return _script(settings, folder, name=name, tasks=tasks, threads=threads, command=[WORKER, f'"{line}"'])


def probe_script(settings: Slurm, folder: Path, *, name: str) -> str:
    """Batch script of the first tiny job, which tells whether nodes see the warehouse and can run a worker."""
    short = settings.model_copy(update={"time": "00:05:00"})
    command = [PROBE, shlex.quote(str(folder))]
    return _script(short, folder, name=name, tasks=1, threads=1, command=command)


def log_path(folder: Path, job: str, index: int) -> Path:
    """Where a task's output goes, by the batch script."""
    return folder / f"{job}_{index}_0_log.out"


def _script(
    settings: Slurm, folder: Path, *, name: str, tasks: int, threads: int, command: Sequence[str]
) -> str:
    variables = {
        **thread_variables(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        REQUEUES_VARIABLE: str(settings.requeues),
        TIME_VARIABLE: settings.time or "",
        UMASK_VARIABLE: f"{chosen_umask():03o}",
        **(settings.environment or {}),
    }
    python = settings.python or shlex.quote(sys.executable)
    given = {
        "job_name": name,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "gres": settings.gres,
        "cpus_per_task": settings.cpus,
        "mem": settings.memory,
        "time": settings.time,
        "signal_delay_s": settings.notice_seconds,
        "array_parallelism": settings.parallel or tasks,
        "srun_args": settings.srun,
        "additional_parameters": {"requeue": True, **(settings.sbatch or {})},
        "setup": [
            "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",  # since 22.05 srun no longer takes it over by itself
            *(f"export {variable}={shlex.quote(value)}" for variable, value in variables.items()),
            *(settings.setup or []),
        ],
    }
    # -P: what lies in the folder from which somebody submits is none of the worker's modules.
    # A signal that comes while Python starts is ignored instead of killing it: the worker catches the next.
    ignoring = 'bash -c \'trap "" USR2; exec "$@"\' memo'
    return _make_sbatch_string(
        command=" ".join([ignoring, python, "-u", "-P", "-m", *command]),
        folder=folder,
        map_count=tasks,
        wckey=None,  # pyright: ignore[reportArgumentType] - left out of the script
        stderr_to_stdout=True,
        **given,
    )


class _Submission(Submitit):
    """submitit's way to sbatch, for a script of our own."""

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__(folder)
        self._script = script

    def _make_submission_file_text(self, command: str, uid: str) -> str:  # noqa: ARG002
        return self._script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        # A run inside a job (an interactive one, say) must not hand that job's limits down to its tasks.
        job = [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]
        return ["env", *(f"--unset={name}" for name in job), "sbatch", str(submission_file_path)]


def sbatch(script: str, folder: Path) -> str:
    """Submit a batch script, which is kept in the folder.

    Returns:
        Id of the job.

    Raises:
        ExecutorError: sbatch refuses; the message holds what it said.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints there what its error holds too
            return str(_Submission(folder, script)._submit_command("").job_id)  # noqa: SLF001
    except (FailedJobError, FailedSubmissionError) as error:
        raise ExecutorError(" ".join(str(error).replace("sbatch: error: ", "").split())) from error


def refusal(what: str, error: ExecutorError, settings: Slurm) -> ExecutorError:
    """The error for the user when sbatch refuses something: what it said, what it was asked for, where to change it.

    Args:
        what: is refused.
        error: of `sbatch`.
        settings: with which it was asked.
    """
    asked = settings.model_dump(exclude_none=True, exclude={"requeues", "notice_seconds"})
    return ExecutorError(
        f"Slurm refuses {what}: {error}. It was asked for {asked}: change compute.slurm of the study, or slurm.yaml in the "
        "warehouse directory"
    )
