"""A first tiny job: do the nodes see the warehouse, and can they run a worker of this very code?

What belongs here: both sides of the probe, and the record that spares it the next time. `python -m` this module with a
folder is the node's side.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import time
import uuid
from pathlib import Path

from memo_assets.compute.errors import ExecutorError
from memo_assets.compute.outcomes import StateWatcher, log_end
from memo_assets.compute.slurm import script
from memo_assets.compute.slurm.queue import SlurmQueue
from memo_assets.compute.source import source_version
from memo_assets.config import Slurm
from memo_assets.store.files import read_json, write_json, write_text
from memo_assets.store.umask import set_umask

_VALID_SECONDS = 7 * 24 * 3600
_GRACE_SECONDS = 8.0
_POLL_SECONDS = 1.0


def check_nodes(
    settings: Slurm, warehouse: Path, queue: SlurmQueue, watcher: StateWatcher, *, again: bool = False
) -> None:
    """Run the probe, unless it succeeded within a week with the same settings and code.

    Args:
        settings: with which work will be submitted.
        warehouse: the directory that nodes must share.
        queue: Slurm's commands.
        watcher: is told what happens.
        again: even if it succeeded lately.

    Raises:
        ExecutorError: Slurm is not here, the nodes do not see the warehouse, or cannot run a worker; the message says what was found.
    """
    if not queue.is_here():
        raise ExecutorError(
            "sbatch, squeue and scancel are not all on the PATH: run this on a login node of the cluster (or load its "
            "Slurm module), or set MEMO_EXECUTOR=local"
        )
    home = warehouse / "slurm_probes"
    parts = [settings.model_dump(exclude={"time", "parallel", "requeues"}), sys.executable, source_version()]
    record = home / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}.json"
    if not again and record.is_file() and time.time() - record.stat().st_mtime < _VALID_SECONDS:
        return
    folder = home / uuid.uuid4().hex[:12]
    folder.mkdir(parents=True)
    token = uuid.uuid4().hex
    write_text(folder / "token.txt", token)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = _run(settings, folder, token, queue, watcher)
    if answer["source"] != source_version():
        raise ExecutorError(
            f"Python on node {answer['host']} ({answer['python']}) runs another version of memo_assets than this "
            f"machine ({answer['source']} there, {source_version()} here): install the same there, or name another "
            "Python by compute.slurm.python"
        )
    if not answer["sees_locks"]:
        watcher.on_state(
            f"warning: node {answer['host']} does not see file locks of this machine (a file system mounted without "
            "flock?): start runs of one study from one machine only"
        )
    watcher.on_state(f"nodes see {warehouse}: read and written by job {answer['job']} on {answer['host']}")
    write_json(record, answer)
    shutil.rmtree(folder, ignore_errors=True)


def _run(settings: Slurm, folder: Path, token: str, queue: SlurmQueue, watcher: StateWatcher) -> dict:
    try:
        job = script.sbatch(script.probe_script(settings, folder, name="memo-probe"), folder)
    except ExecutorError as error:
        raise script.refusal("the first tiny job", error, settings) from error
    watcher.on_state(f"Slurm job {job}: checking that nodes see {folder.parent.parent} and can run a worker")
    try:
        _wait(folder, job, queue, watcher)
    except BaseException:
        queue.cancel(job)
        raise
    answer = read_json(folder / "answer.json")
    if answer["token"] != token:
        raise ExecutorError(
            f"node {answer['host']} reads another {folder / 'token.txt'} than this machine wrote: {folder.parent.parent} must "
            "lie on a file system that all nodes share; set MEMO_WAREHOUSE to one"
        )
    return {**answer, "job": job}


def _wait(folder: Path, job: str, queue: SlurmQueue, watcher: StateWatcher) -> None:
    """Until the answer is there.

    Raises:
        ExecutorError: the job has ended without one.
    """
    told, ended_at = "", None
    while not (folder / "answer.json").is_file():
        states = queue.states([job])
        state = None if states is None else states.get(f"{job}_0")
        if state is not None and str(state) != told:
            told = str(state)
            watcher.on_state(f"Slurm job {job}: {told}")
        if states is not None and (state is None or state.ended):
            ended_at = ended_at or time.monotonic()
            if time.monotonic() - ended_at > _GRACE_SECONDS:
                raise ExecutorError(_why(folder, script.log_path(folder, job, 0), job, told))
        time.sleep(_POLL_SECONDS)


def _why(folder: Path, log: Path, job: str, state: str) -> str:
    if not log.is_file():
        return (
            f"Slurm job {job} ended ({state or 'unknown to Slurm'}), and nothing it wrote is to be seen in {folder}: "
            f"{folder.parent.parent} must lie on a file system that this machine and all nodes share; set MEMO_WAREHOUSE "
            "to a directory on one"
        )
    return (
        f"Slurm job {job} ended ({state or 'unknown to Slurm'}) without an answer: nodes cannot run a worker. See "
        "compute.slurm.setup, python and environment. It is the same command that later runs the workers.\n"
        f"--- end of {log}\n{log_end(log)}"
    )


def _answer(folder: Path) -> None:
    """The node's side: read what the submitter wrote, write what it is to read."""
    token = (folder / "token.txt").read_text(encoding="utf-8")
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sees_locks = False
        except BlockingIOError:
            sees_locks = True
    write_json(
        folder / "answer.json",
        {
            "token": token,
            "host": platform.node(),
            "python": sys.executable,
            "source": source_version(),
            "sees_locks": sees_locks,
            "gpus": int(os.environ.get("SLURM_GPUS_ON_NODE", "0")),
        },
    )


if __name__ == "__main__":
    set_umask()
    _answer(Path(sys.argv[1]))
