"""Time limits and preemption: a task saves its state, is queued again so often and no more, and goes on at its last step."""

import re
import subprocess
import time

import pytest

from memo_assets.store.files import content_hash
from memo_assets_tests.compute.small_items import ENDLESS
from memo_assets_tests.slurm.conftest import Lab, Seen

pytestmark = pytest.mark.slow


def test_a_task_at_its_time_limit_is_queued_again_and_goes_on_but_not_for_ever(lab: Lab) -> None:
    # Slurm looks at time limits twice a minute, and takes no limit below a minute.
    limit = {
        "compute.slurm.time": "00:01:00",
        "compute.slurm.notice_seconds": 20,
        "compute.slurm.requeues": 1,
    }
    study = lab.study(**ENDLESS, **limit)
    lab.inputs(study)
    seen = Seen()
    outcomes = lab.run(lab.items(study, [0, 1]), seen)
    result = outcomes[0, 1].result
    log = "\n".join(seen.logs)
    queued = re.search(r"at the time limit \(00:01:00\), interrupted at step (\d+) of 5000000; queueing", log)
    assert queued is not None
    assert f"seeds 0 to 1 (2): resumed at step {queued.group(1)} of 5000000" in log
    match = re.fullmatch(
        r"interrupted at step (\d+) of 5000000, and queued again 1 times already, which is as often as "
        r"compute.slurm.requeues allows: raise it or compute.slurm.time \(00:01:00\), and materialize again: what is saved "
        r"is kept",
        str(result.error),
    )
    assert match is not None
    assert int(match.group(1)) > int(queued.group(1)) > 0
    assert result.attempts == 2
    assert len(seen.arrays()) == 1
    assert "BeginTime" in seen.said  # Slurm itself queued it, it was not sent anew
    assert lab.trained() == []


def test_a_time_limit_too_short_for_anything_names_the_setting(lab: Lab) -> None:
    # Python comes up only when the time is over: modules load for long, the node is slow, the model is large.
    late = {"compute.slurm.setup": ["sleep 300"], "compute.slurm.time": "00:01:00"}
    study = lab.study(**ENDLESS)
    lab.inputs(study)
    lab.run(lab.items(lab.study(), [3]))  # the nodes are checked by now, without the delay
    record = next((lab.warehouse / "slurm_probes").glob("*.json"))
    slow = lab.study(**ENDLESS, **late)
    from memo_assets.compute.slurm import executor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "check_nodes", lambda *_: None)
        outcomes = lab.run(lab.items(slow, [0, 1]))
    assert record.is_file()
    error = str(outcomes[0, 1].result.error)
    assert (
        "ran into its time limit (00:01:00) before it could save its state: raise compute.slurm.time" in error
    )


def test_a_preempted_task_saves_its_state_and_ends_with_the_same_weights(lab: Lab) -> None:
    steps = 30_000
    study = lab.study(steps, **{"compute.slurm.partition": "low"})
    lab.inputs(study)
    lab.run(lab.items(study, [0, 1]))
    undisturbed = content_hash(lab.layout.adapter(0, steps // 5), lab.layout.adapter(1, steps // 5))
    seen = Seen()

    def preempt(_: object) -> None:
        time.sleep(1)
        command = ["sbatch", "--parsable", "-p", "high", "--gres=gpu:2", "--mem=100M", "--wrap", "sleep 3"]
        subprocess.run([*command, "--output=/dev/null"], check=True, capture_output=True)

    seen.when_training = preempt
    outcomes = lab.run(lab.items(study, [0, 1]), seen)
    result = outcomes[0, 1].result
    assert result.error is None
    assert result.attempts == 2
    log = "\n".join(seen.logs)
    stopped = re.search(rf"preempted, interrupted at step (\d+) of {steps}; queueing this task again", log)
    assert stopped is not None
    assert f"resumed at step {stopped.group(1)} of {steps}" in log
    assert content_hash(lab.layout.adapter(0, steps // 5), lab.layout.adapter(1, steps // 5)) == undisturbed
    assert len(seen.arrays()) == 1
