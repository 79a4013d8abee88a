"""The benchmark of very many models, run at the size of very few: every step runs and tells what it took."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import load

SEEDS, SAMPLES, EPOCHS = 4, 200, 3


def test_every_step_runs_at_a_small_size(tmp_path: Path) -> None:
    sizes = ["--seeds", str(SEEDS), "--samples", str(SAMPLES), "--epochs", str(EPOCHS)]
    command = [sys.executable, "-m", "benchmarks.load", *sizes, "--out", str(tmp_path / "load.json")]
    root = Path(load.__file__).parents[1]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=300)
    (found,) = json.loads((tmp_path / "load.json").read_text())["sizes"]
    assert found["rows_of_logits"] == SEEDS * SAMPLES * EPOCHS
    assert set(found["steps"]) == {"write", *load.STEPS}
    for step in found["steps"].values():
        assert step["seconds"] >= 0
        assert 50 < step["peak_mb"] < 2000
