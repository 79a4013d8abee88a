"""Killed with SIGKILL at random moments and run again until it ends: the same results as if nothing had happened.

Killed are the process of `memo demo`, in which the runs are, and one of its workers; in the long form also a run that the
daemon has launched, and the daemon with all its processes.
"""

import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from memo_assets.instance import prepare_home
from memo_assets.study import load_study
from memo_assets_tests.faults.command import LONG, Place, long_form, place, workers_of
from memo_assets_tests.faults.conftest import Finished
from memo_assets_tests.faults.sameness import assert_same
from memo_assets_tests.web import Web

KILLS = 30 if LONG else 3
PER_ROUND = 3  # kills of one warehouse before it is left to end


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS // PER_ROUND))
def test_killed_at_random_moments_it_ends_with_the_same_tables(
    finished: Finished, tmp_path: Path, seed: int
) -> None:
    name = ("tiny", "packed", "towns")[seed % 3]
    wanted, draw = finished(name), random.Random(seed)
    there = place(tmp_path, name)
    # Each life is long enough to get further than the one before, so that kills fall on all of the study.
    for life in range(PER_ROUND):
        whom = "worker" if (seed + life) % PER_ROUND == 1 else "command"
        killed_early(there, whom, steps=draw.randint(1, 5), pause=draw.random())
    there.well()
    assert_same(there.warehouse, wanted.warehouse, name)
    assert "everything is fresh" in there.well().out


def killed_early(there: Place, whom: str, *, steps: int, pause: float) -> None:
    """Start the command, wait until it has done some steps and a moment more, kill it or a worker of it; see it end."""
    process = there.start("demo", str(there.study))
    assert process.stdout is not None
    done = 0
    while done < steps and (line := process.stdout.readline()):
        done += line.startswith("done ")
    time.sleep(pause)
    if whom == "worker" and (workers := workers_of(process.pid)):
        workers[0].kill()
        out, err = process.communicate(timeout=300)
        # A lost worker is tried again once; an idle one is never missed.
        assert process.returncode == 0, f"{out}\n{err}"
        return
    killed(process)


def killed(process: subprocess.Popen[str]) -> None:
    """Kill a command with -9; its workers must end by themselves."""
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


@long_form
@pytest.mark.slow
@pytest.mark.parametrize("draw", range(3))
@pytest.mark.parametrize("whom", ["run", "daemon"])
def test_a_killed_run_of_the_daemon_is_taken_up_by_the_command(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whom: str, draw: int
) -> None:
    there, moment = place(tmp_path, "tiny"), random.Random(f"{whom} {draw}").random()
    monkeypatch.setenv("MEMO_WAREHOUSE", str(there.warehouse))
    monkeypatch.setenv("DAGSTER_HOME", str(there.warehouse / "dagster_home"))
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    prepare_home()
    web = Web(tmp_path, load_study(str(there.study)))
    try:
        web.launch_job("tiny__everything")
        web.wait_until(lambda: bool(workers_of(web.pid)), 180, every=0.1)
        time.sleep(6 * moment)
        (worker,) = workers_of(web.pid)
        run = worker.parent()
        assert run is not None
        killed = (
            [run] if whom == "run" else [psutil.Process(web.pid), *psutil.Process(web.pid).children(True)]
        )
        for process in killed:
            process.kill()
        # Else the daemon would try again what it has lost, and the command would find nothing to do.
        psutil.wait_procs([*killed, worker], timeout=60)
    finally:
        web.close()
    there.well()
    assert_same(there.warehouse, finished("tiny").warehouse, "tiny")
    assert "everything is fresh" in there.well().out
