"""A study of pictures in colour from a saved data set to its report, at toy size."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from memo_assets.compute.local import LocalExecutor
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.status import study_state
from memo_assets.store.layout import Layout
from memo_assets.store.tables import reading
from memo_assets_tests.data.pictures import colours, save_pictures, settings
from memo_assets_tests.end_to_end.conftest import Recorder
from memo_assets_tests.studies import DIGITS, study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def test_a_study_of_pictures_runs_from_raw_data_to_report(
    tmp_path: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "warehouse" / "dagster_home"))
    rows = colours(80, 0)
    folder = save_pictures(tmp_path / "pictures", {"train": rows, "test": colours(20, 1)})
    changes = {
        "data": settings(folder, test_splits=["test"]),
        "noise.share": 0.1,
        "shadows.models": 10,
        "training.learning_rate": 0.05,
        "training.epochs": 8,
        "training.checkpoints": [0, 1, 4, 8],
        "labels": {"attack": "loo_lira", "queries": {"shift": 1, "flip": True}},
        "scores": {"psmi_directions": 20, "smi_directions": 2},
        "show_text": True,
        "canaries": {"kind": "ood", "count": 6},
        "compute": {"device": "cpu", "pack": 5, "workers": 1, "threads": 1},
    }
    of, recorder = study(DIGITS, changes), Recorder()
    definitions = build_defs([of], {"observer": recorder, "executor": executor})
    with open_instance() as instance:
        bring_up_to_date(of, definitions, instance, recorder)
        assert all(not state.todo for state in study_state(of, definitions, instance))
    layout = Layout.of(of.name)
    with reading() as connection:
        parts = connection.execute(
            "SELECT part, count(*) FROM samples GROUP BY part ORDER BY part"
        ).fetchall()
        canaries = connection.execute("SELECT sample_id FROM samples WHERE canary = 'ood'").fetchall()
    assert parts == [("pool", 80), ("test", 20)]
    assert len(canaries) == 6
    assert all(
        pq.read_table(layout.split_mask(seed)).column("sample_id").to_numpy().max() < 80 for seed in of.seeds
    )
    assert len(pq.read_table(layout.logits(0)).column("query_gaps")[0]) == 18
    # The report shows the pictures themselves.
    shown = re.findall(
        r'<img src="data:image/png;base64,([^"]+)" alt="sample (\d+)">', layout.report.read_text("utf-8")
    )
    assert len(shown) == 25
    for content, sample_id in shown:
        picture = Image.open(io.BytesIO(base64.b64decode(content)))
        assert (picture.mode, picture.size) == ("RGB", (5, 4))
        if (int(sample_id),) in canaries:
            continue
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(rows[int(sample_id)][0]))
