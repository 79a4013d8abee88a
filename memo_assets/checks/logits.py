"""Checks of the logits: whether they are all there, and what the models have learned.

What belongs here: what can be told from the Parquet files of logits, with samples and split masks. What does not: the
warehouse's tables (`warehouse`, `labels`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binom

from memo_assets.checks.verdict import Verdict, not_judged, numbered, seeds_named, span
from memo_assets.config import Study
from memo_assets.store.files import read_json
from memo_assets.store.layout import SEED_IN_NAME, Layout

FALSE_ALARM = 0.01
"""Probability that any model that answers by chance passes for one that has learned."""

_READ = "read_parquet({}, hive_partitioning = false, filename = true)"
# A sum is finite just where all numbers in it are (infinities cancel to nan), but for nulls, which only a count leaves out.
_ROWS = f"""
CREATE VIEW answers AS
SELECT {SEED_IN_NAME} AS seed, split_seed, epoch, l.sample_id, place,
       isfinite(loss) AND isfinite(logit_gap) AND isfinite(list_sum(option_logits))
         AND len(option_logits) = n_options AND list_count(option_logits) = n_options {{queries}} AS is_whole
FROM {_READ.format("$logits")} l LEFT JOIN samples USING (sample_id)
"""
_COLUMNS = {"split_seed", "epoch", "sample_id", "loss", "logit_gap", "option_logits"}
_SAMPLES = """
CREATE TABLE samples AS
SELECT sample_id, row_number() OVER () - 1 AS place, len(options) AS n_options, given_label FROM read_parquet(?, hive_partitioning = false)
"""


def logits_complete(layout: Layout, study: Study, seeds: Sequence[int]) -> Verdict:
    """Whether every model has every sample once at every checkpoint, with finite numbers for all options and queries.

    Args:
        layout: where samples, logits and training logs lie.
        study: its checkpoints, trigger and queries.
        seeds: split seeds to judge.
    """
    seeds = sorted(seeds)
    if not seeds:
        return not_judged("no logits have been recorded")
    wanted = _COLUMNS if study.labels.queries is None else {*_COLUMNS, "query_gaps"}
    unreadable = [seed for seed in seeds if not wanted <= _columns(layout.logits(seed))]
    problems = [f"files that cannot be read or lack columns: {seeds_named(unreadable)}"] if unreadable else []
    at_fault, n = set(unreadable), pq.read_metadata(layout.samples).num_rows
    n_rows = 0
    if readable := [seed for seed in seeds if seed not in at_fault]:
        with duckdb.connect() as connection:
            _open(connection, layout, study, readable)
            found = connection.execute(
                # One bit a sample: exact, and a fraction of the time and memory of count(DISTINCT).
                f"SELECT seed, epoch, count(*) AS n, bit_count(bitstring_agg(place, 0, {n - 1})) AS n_samples, "
                "count(*) FILTER (is_whole IS NOT true OR split_seed <> seed) AS n_bad FROM answers GROUP BY ALL"
            ).fetchall()
            n_rows = sum(row[2] for row in found)
            epochs = {seed: {row[1] for row in found if row[0] == seed} for seed in readable}
            lacking = [seed for seed in readable if epochs[seed] != _wanted_epochs(layout, study, seed)]
            short = [(seed, epoch) for seed, epoch, rows, ids, _ in found if not rows == ids == n]
            broken = [(seed, epoch) for seed, epoch, _, _, n_bad in found if n_bad]
            if lacking:
                problems.append(f"other checkpoints than the recipe's: {seeds_named(lacking)}")
            if short:
                problems.append(
                    f"samples that are not there just once: {_where(short)}{_first(connection, _UNEVEN, short)}"
                )
            if broken:
                problems.append(
                    f"numbers that are missing, nan or infinite, or of another model: {_where(broken)}"
                    f"{_first(connection, _BROKEN, broken)}"
                )
            at_fault |= {*lacking, *(seed for seed, _ in short + broken)}
    facts = {"models": len(seeds), "rows": n_rows, "models_at_fault": len(at_fault)}
    if problems:
        return Verdict(
            passed=False,
            sentence=f"logits with {'; '.join(problems)}. Expected one row per sample and checkpoint with finite numbers: "
            "materialize the logits of these seeds again",
            facts=facts,
            seeds=tuple(sorted(at_fault)),
        )
    return Verdict(
        passed=True,
        sentence=f"logits of {len(seeds)} models: each of the {n} samples once at every checkpoint, all numbers finite",
        facts=facts,
    )


_UNEVEN = """
SELECT s.sample_id FROM samples s LEFT JOIN (FROM answers WHERE seed = ? AND epoch = ?) a USING (sample_id)
GROUP BY 1 HAVING count(a.sample_id) <> 1 ORDER BY 1
"""
_BROKEN = """
SELECT DISTINCT sample_id FROM answers WHERE seed = ? AND epoch = ? AND (is_whole IS NOT true OR split_seed <> seed)
ORDER BY 1
"""


def _open(connection: duckdb.DuckDBPyConnection, layout: Layout, study: Study, seeds: Sequence[int]) -> None:
    """Make the view `answers` of the models' logits, and the table `samples`."""
    connection.execute(_SAMPLES, [str(layout.samples)])
    queries = ""
    if study.labels.queries is not None:
        n_queries = len(study.labels.queries.offsets)
        queries = (
            f"AND len(query_gaps) = {n_queries} AND list_count(query_gaps) = {n_queries} "
            "AND isfinite(list_sum(query_gaps))"
        )
    files = _quoted([layout.logits(seed) for seed in seeds])
    connection.execute(_ROWS.format(queries=queries).replace("$logits", files))


def _quoted(paths: Sequence[Path]) -> str:
    """Paths as a list in SQL, for views, which take no parameters."""
    escaped = (str(path).replace("'", "''") for path in paths)
    return "[" + ", ".join(f"'{path}'" for path in escaped) + "]"


def _columns(path: Path) -> set[str]:
    """Names of a file's columns; none if it cannot be read."""
    try:
        return set(pq.read_schema(path).names)
    except (FileNotFoundError, pa.ArrowInvalid):
        return set()


def _wanted_epochs(layout: Layout, study: Study, seed: int) -> set[float]:
    """Epochs of the recipe's checkpoints and, if there is one, of the model's own trigger."""
    epochs = set(study.training.checkpoints)
    if study.training.trigger is not None:
        log = read_json(layout.training_log(seed))["checkpoints"]
        epochs |= {entry["epoch"] for entry in log if entry.get("is_trigger")}
    return epochs


def _where(places: Sequence[tuple[int, float]]) -> str:
    """Seeds of some (seed, epoch), and the first epoch."""
    return f"{seeds_named(sorted({seed for seed, _ in places}))}, the first at epoch {min(places)[1]:g}"


def _first(connection: duckdb.DuckDBPyConnection, query: str, places: Sequence[tuple[int, float]]) -> str:
    """Samples that a query finds at the first of some (seed, epoch)."""
    ids = [row[0] for row in connection.execute(query, list(min(places))).fetchall()]
    return f" (samples {numbered(ids)})" if ids else ""


def accuracy_above_chance(layout: Layout, study: Study, seeds: Sequence[int]) -> Verdict:
    """Whether every model answers its training samples better than by chance, and than before training.

    Chance is the better of two: a uniform guess among a sample's options, and the label given most often to the model's
    training samples. A model is above chance where as many right answers have a probability of less than
    FALSE_ALARM / S by chance (exact binomial tail, Bonferroni over S models).

    Args:
        layout: where samples, split masks and logits lie.
        study: its checkpoints.
        seeds: split seeds to judge.
    """
    seeds = sorted(seeds)
    if not seeds:
        return not_judged("no logits have been recorded")
    with duckdb.connect() as connection:
        connection.execute(_SAMPLES, [str(layout.samples)])
        found = _accuracies(connection, layout, study, seeds)
    if (found["n_labels"] < 2).all():
        return not_judged("all training samples have the same label, which needs no learning")
    n, right, before = (np.asarray(found[name]) for name in ("n", "n_right", "n_right_before"))
    chance = np.asarray(found["chance"])
    by_luck = binom.sf(right - 1, n, chance) >= FALSE_ALARM / len(seeds)
    at_chance = np.asarray(found["seed"])[by_luck].tolist()
    no_better = np.asarray(found["seed"])[right <= before].tolist()
    facts = {
        "models": len(seeds),
        "least_accuracy": float((right / n).min()),
        "mean_accuracy": float((right / n).mean()),
        "mean_accuracy_before_training": float((before / n).mean()),
        "chance": float(chance.mean()),
        "models_at_chance": len(at_chance),
        "models_no_better_than_before": len(no_better),
    }
    accuracy = f"training accuracy {span(right / n)} over {len(seeds)} models; chance gives {span(chance)}, the models before training {span(before / n)}"
    problems = [f"no better than chance: {seeds_named(at_chance)}"] if at_chance else []
    problems += [f"no better than before training: {seeds_named(no_better)}"] if no_better else []
    if problems:
        return Verdict(
            passed=False,
            sentence=f"models that are {'; '.join(problems)}. {accuracy}. Train longer or with another learning rate, and "
            "look at prompts and labels: what was not learned is not memorized",
            facts=facts,
            seeds=tuple(sorted({*at_chance, *no_better})),
        )
    return Verdict(passed=True, sentence=accuracy, facts=facts)


def _accuracies(
    connection: duckdb.DuckDBPyConnection, layout: Layout, study: Study, seeds: Sequence[int]
) -> dict[str, Any]:
    """Per model: training samples, right answers at the last checkpoint and at the first, chance, and distinct labels."""
    query = f"""
    WITH masks AS (SELECT {SEED_IN_NAME} AS seed, sample_id FROM {_READ.format("$masks")}),
    answers AS (
      SELECT {SEED_IN_NAME} AS seed, epoch, sample_id, isfinite(logit_gap) AND logit_gap > 0 AS is_right
      FROM {_READ.format("$logits")} WHERE epoch IN ($first, $last)
    ), scored AS (
      SELECT seed, count(*) FILTER (epoch = $last) AS n, count(*) FILTER (epoch = $last AND is_right) AS n_right,
             count(*) FILTER (epoch = $first AND is_right) AS n_right_before
      FROM answers JOIN masks USING (seed, sample_id) GROUP BY seed
    ), labels AS (
      SELECT seed, given_label, count(*) AS n, sum(1 / n_options) AS guessed
      FROM masks JOIN samples USING (sample_id) GROUP BY seed, given_label
    ), chances AS (
      SELECT seed, greatest(max(n), sum(guessed)) / sum(n) AS chance, count(*) AS n_labels FROM labels GROUP BY seed
    )
    SELECT * FROM scored JOIN chances USING (seed) ORDER BY seed
    """
    values = {
        "masks": [str(layout.split_mask(seed)) for seed in seeds],
        "logits": [str(layout.logits(seed)) for seed in seeds],
        "first": study.training.checkpoints[0],
        "last": study.training.checkpoints[-1],
    }
    return connection.execute(query, values).fetchnumpy()
