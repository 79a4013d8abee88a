"""Labels that rest on models enough, and scores that tell samples apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from memo_assets.checks.labels import _NEEDS, enough_shadows, labels_not_degenerate
from memo_assets.measures.attacks import ATTACKS, Outputs
from memo_assets.store.schema import ddl
from memo_assets_tests.checks.sound import facts_are_plain
from memo_assets_tests.studies import DIGITS, study

N = 40


def labels(**columns: Any) -> pd.DataFrame:
    """Labels of the study `tiny` at two checkpoints; the first is without any worth."""
    score = np.linspace(-20, 60, N)
    last = pd.DataFrame(
        {
            "study": "tiny", "target_seed": 0, "epoch": 2.0, "sample_id": np.arange(N) * 2, "log_lira": score,
            "log_lira_clipped": score.clip(-100, 100), "score": score, "memorized": score > 50, "n_in": 6, "n_out": 7,
        }
    ).assign(**columns)  # fmt: skip
    first = last.assign(epoch=0.0, score=0.0, n_in=0, n_out=0)
    return pd.concat([first, last])


@contextmanager
def warehouse_with(frame: pd.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        connection.register("given", frame)
        connection.execute("INSERT INTO memorization BY NAME SELECT * FROM given")
        yield connection


def test_labels_on_models_enough_pass() -> None:
    with warehouse_with(labels()) as connection:
        found = enough_shadows(connection, study(DIGITS))
    assert found.passed
    assert found.sentence == (
        "the fewest models that any of 40 labels rests on are 6 with the sample and 7 without it"
    )
    assert found.facts["samples_with_too_few_models"] == found.facts["labels_without_score"] == 0
    assert facts_are_plain(found.facts)


@pytest.mark.parametrize(
    ("attack", "sides", "short"),
    [
        ("online_lira", {"n_in": [4, *[6] * (N - 1)]}, [0]),
        ("online_lira", {"n_out": [*[6] * (N - 1), 4]}, [78]),
        ("online_lira", {"n_in": 5, "n_out": 5}, []),
        ("offline_lira", {"n_in": 0}, []),
        ("offline_lira", {"n_in": 0, "n_out": [4, *[6] * (N - 1)]}, [0]),
        ("online_lira_fixed_variance", {"n_in": 1, "n_out": 1}, []),
        ("online_lira_fixed_variance", {"n_in": [0, *[6] * (N - 1)]}, [0]),
        ("rmia", {"n_out": [0, 0, *[6] * (N - 2)]}, [0, 2]),
        ("offline_rmia", {"n_in": 0, "n_out": 1}, []),
        ("loo_lira", {"n_in": 4}, list(range(0, 2 * N, 2))),
    ],
)
def test_samples_with_too_few_models_for_their_attack_are_named(
    attack: str, sides: dict, short: list[int]
) -> None:
    with warehouse_with(labels(**sides)) as connection:
        found = enough_shadows(connection, study(DIGITS, {"labels.attack": attack}))
    assert found.passed == (not short)
    assert found.facts["samples_with_too_few_models"] == len(short)
    if short:
        assert (
            f"Samples below that: {', '.join(map(str, short[:2])) if len(short) > 2 else ' and '.join(map(str, short))}"
            in found.sentence
        )


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_least_models_that_count_as_enough_give_a_score_and_fewer_than_one_do_not(attack: str) -> None:
    """On random outputs of 12 models, whose first sample has just so many in and out."""
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=(12, 6))

    def score(n_in: int, n_out: int) -> float:
        """Of the target 0 on sample 0, with models in and out of it; the other samples have models enough."""
        models = 1 + n_in + n_out
        inside = np.arange(models)[:, None] % 2 == np.zeros(6)
        inside[:, 0] = [True, *[True] * n_in, *[False] * n_out]
        own = gaps[:models]
        outputs = Outputs(own, np.logaddexp(0, -own), np.logaddexp(0, -own), inside)
        return ATTACKS[attack].scores(outputs, 0)[0]

    n_in, n_out = _NEEDS[attack]
    assert np.isfinite(score(n_in, n_out))
    if n_out == 1:
        assert np.isnan(score(max(n_in, 3), 0))
    else:  # a standard deviation of its own takes two; what is asked for is more than that
        assert np.isnan(score(max(n_in, 3), 1))
    if n_in == 1:
        assert np.isnan(score(0, 3))


def test_scores_that_tell_samples_apart_pass() -> None:
    with warehouse_with(labels()) as connection:
        found = labels_not_degenerate(connection, study(DIGITS))
    assert found.passed
    assert found.facts == {
        "labels": N, "share_clipped": 0.0, "share_tied": 0.0, "share_memorized": pytest.approx(0.125),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "clipped", "tied", "passed"),
    [
        ({"log_lira": np.where(np.arange(N) < 21, 150.0, 3.0)}, 21 / N, 0, False),
        ({"log_lira": np.where(np.arange(N) < 20, -150.0, 3.0)}, 20 / N, 0, True),
        ({"score": np.where(np.arange(N) < 21, 1.0, np.arange(N))}, 0, 21 / N, False),
        ({"score": np.where(np.arange(N) < 20, np.nan, np.arange(N))}, 0, 20 / N, True),
        ({"score": np.where(np.arange(N) < 21, np.nan, np.arange(N))}, 0, 21 / N, False),
    ],
)
def test_shares_of_clipped_and_tied_scores(columns: dict, clipped: float, tied: float, passed: bool) -> None:
    frame = labels(**columns)
    frame["log_lira_clipped"] = frame["log_lira"].clip(-100, 100)
    with warehouse_with(frame) as connection:
        found = labels_not_degenerate(connection, study(DIGITS))
    assert found.passed == passed
    assert (found.facts["share_clipped"], found.facts["share_tied"]) == pytest.approx((clipped, tied))
    assert f"{clipped:.1%} are beyond +-100 and {tied:.1%} are ties" in found.sentence


def test_the_same_score_of_two_targets_is_no_tie() -> None:
    frame = pd.concat([labels(), labels(target_seed=1)])
    with warehouse_with(frame) as connection:
        assert labels_not_degenerate(connection, study(DIGITS)).facts["share_tied"] == 0


@pytest.mark.parametrize("judge", [enough_shadows, labels_not_degenerate])
def test_without_labels_nothing_is_judged(judge) -> None:
    with warehouse_with(labels(study="another")) as connection:
        found = judge(connection, study(DIGITS))
    assert found.passed
    assert found.sentence.startswith("not judged: ")
