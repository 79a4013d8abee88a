"""What loading the package's entries imports, costs and touches; each in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("torch", "transformers", "peft", "sklearn", "pandas", "plotly", "scipy", "pyarrow", "duckdb")

LOAD = """
import json, sys, time
import memo_assets.definitions
found = memo_assets.definitions.build_defs()
keys = ["/".join(key.path) for key in found.resolve_all_asset_keys()]
print(json.dumps({"seconds": time.process_time(), "keys": keys, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""
DAGSTER = "import json, time, dagster; print(json.dumps({'seconds': time.process_time()}))"


def loaded(script: str) -> Any:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_the_code_location_is_light_and_touches_nothing(warehouse: Path) -> None:
    found = loaded(LOAD)
    assert [name for name in HEAVY if name in found["modules"]] == []
    assert {"digits/report", "cities/base_model"} <= set(found["keys"])
    assert list(warehouse.iterdir()) == []


def test_the_code_location_costs_little_beside_dagster_itself() -> None:
    """In CPU time and in turn, whatever else keeps the machine busy; the seconds are measured by benchmarks/pipeline.py."""
    rounds = [(loaded(LOAD)["seconds"], loaded(DAGSTER)["seconds"]) for _ in range(3)]
    ours, dagster = (min(seconds) for seconds in zip(*rounds, strict=True))
    assert ours < 4 * dagster, f"CPU seconds of the code location and of Dagster, by round: {rounds}"


def test_every_study_file_is_parsed_once() -> None:
    script = (
        "import json; from memo_assets import study_file; from memo_assets.definitions import build_defs; build_defs(); "
        "print(json.dumps([study_file._parsed.cache_info().misses, len(study_file.study_files())]))"
    )
    parsed, files = loaded(script)
    assert parsed == files


def test_a_worker_never_imports_dagster() -> None:
    script = (
        "import json, sys, memo_assets.compute.worker; light = sorted(sys.modules); import memo_assets.compute.steps; "
        "print(json.dumps({'light': light, 'all': sorted(sys.modules)}))"
    )
    found = loaded(script)
    assert not [name for name in found["all"] if name.split(".")[0].startswith("dagster")]
    assert "torch" in found["all"]
    assert "sklearn" not in found["all"]  # it trains nothing
    assert "torch" not in found["light"]  # an item of another code version is refused without waiting for it


def test_assets_that_fill_the_warehouse_never_import_torch() -> None:
    """A process that has both torch and an open database complains of leaks when it ends, and starts seconds later."""
    script = (
        "import json, sys, memo_assets.audit.of_study, memo_assets.audit.result, memo_assets.analysis.mitigations; "
        "import memo_assets.analysis.skewness, memo_assets.analysis.variation; print(json.dumps(sorted(sys.modules)))"
    )
    assert "torch" not in loaded(script)
