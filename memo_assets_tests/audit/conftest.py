"""Names of towns with some wrong labels, which the toy model learns in seconds; its warehouse is shared by all tests here."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memo_assets.config import CitiesData
from memo_assets.data.cities import load_cities

N, WRONG = 400, 24


@pytest.fixture(scope="session")
def audit_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit_warehouse")


@pytest.fixture(autouse=True)
def _warehouse(audit_warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMO_WAREHOUSE", str(audit_warehouse))


@pytest.fixture(scope="session")
def towns() -> pd.DataFrame:
    """name, country (the label given) and is_wrong, of 400 towns."""
    items, _ = load_cities(CitiesData(source="cities", countries=["BR", "CN", "DE", "IN"], items=N), 11)
    rng = np.random.default_rng(3)
    wrong = rng.choice(N, WRONG, replace=False)
    labels = items["label"].to_numpy(dtype=object).copy()
    options = sorted(set(labels))
    for row in wrong:
        labels[row] = options[(options.index(labels[row]) + 1 + int(rng.integers(3))) % 4]
    is_wrong = np.zeros(N, dtype=bool)
    is_wrong[wrong] = True
    return pd.DataFrame({"name": items["text"], "country": labels, "is_wrong": is_wrong})
