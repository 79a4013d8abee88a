"""How skewed memorization is: over checkpoints, over the number of samples, over their similarity to other samples."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from memo_assets.analysis.frames import Subject
from memo_assets.analysis.labels import CLIP
from memo_assets.config import Study
from memo_assets.data.duplicates import MAX_QUERIES, nearest_samples
from memo_assets.measures.skewness import FEWEST, spreads

OVER = ("epoch", "size", "similarity")
BINS = 5
_COLUMNS = ["target_seed", "over", "value", "measure", "estimate", "low", "high", "n"]


def memorization_skewness(connection: duckdb.DuckDBPyConnection, study: Study, samples: Path) -> pd.DataFrame:
    """Columns of the table `memorization_skewness`, for all audited models.

    Scores are those of the study's attack, clipped to [-100, 100], so that no single sample makes the tail.

    Args:
        connection: on the warehouse, with the labels.
        study: the study.
        samples: Parquet file of the study's samples.

    Returns:
        One row per target, what is varied, its value, and measure, in that order.

    Source: Li et al., arXiv 2502.01187: skewness over training time, size of the data, similarity of samples.
    """
    similarity, rows = nearest_similarity(samples, _trained_on(connection, study)), []
    for target in study.shadows.audited:
        scores = connection.execute(
            "SELECT epoch, sample_id, greatest(least(score, $clip), -$clip) AS score FROM memorization "
            "WHERE study = $study AND target_seed = $target ORDER BY epoch, sample_id",
            {"study": study.name, "target": target, "clip": CLIP},
        ).df()
        for over, value, values in _parts(scores, similarity, target):
            found = spreads(values, seed=[target, OVER.index(over), len(values)])
            rows += [
                (np.int32(target), over, value, measure, spread.estimate, spread.low, spread.high, spread.n)
                for measure, spread in found.items()
            ]
    frame = pd.DataFrame(rows, columns=_COLUMNS).astype({"target_seed": np.int32, "n": np.int32})
    return frame.sort_values(["target_seed", "over", "value", "measure"], ignore_index=True)


def _parts(
    scores: pd.DataFrame, similarity: pd.Series, target: int
) -> Iterator[tuple[str, float, np.ndarray]]:
    """What is varied, its value, and the scores that belong to it; size and similarity at the last checkpoint."""
    for epoch, of_epoch in scores.groupby("epoch"):
        yield "epoch", float(str(epoch)), of_epoch["score"].to_numpy()
    last = scores[scores["epoch"] == scores["epoch"].max()]
    values = last["score"].to_numpy()
    order = np.random.default_rng([target, len(values)]).permutation(len(values))
    for size in subset_sizes(len(values)):
        yield "size", float(size), values[order[:size]]
    alike = last["sample_id"].map(similarity).to_numpy(dtype=np.float64)
    for middle, members in similarity_bins(alike):
        yield "similarity", middle, values[members]


def subset_sizes(n: int) -> list[int]:
    """n, its half, its quarter, ..., rising, as long as there are samples enough to measure.

    Args:
        n: training samples.
    """
    sizes = [n]
    while sizes[-1] // 2 >= FEWEST:
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]


def similarity_bins(similarity: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Samples in at most `BINS` groups of about equal size by similarity; equal ones are never parted.

    Args:
        similarity: [N], nan where it was not looked for.

    Returns:
        Median similarity of each group, rising, and the positions of its samples.
    """
    there = np.flatnonzero(np.isfinite(similarity))
    count = min(BINS, len(there) // FEWEST)
    if not count:
        return []
    edges = np.unique(np.quantile(similarity[there], np.arange(1, count) / count))
    # An edge belongs to the group above it, so that a heap of equal samples at the high end stays one group.
    group = np.searchsorted(edges, similarity[there], side="right")
    members = [there[group == g] for g in np.unique(group)]
    return [(float(np.median(similarity[own])), own) for own in members]


def nearest_similarity(samples: Path, wanted: np.ndarray) -> pd.Series:
    """Similarity of samples to the nearest other sample of the pool, by sample_id; 0 where none is alike.

    Texts by the cosine of their counts of characters in a row, images by that of their centred pixels. Beyond
    `MAX_QUERIES` samples it is looked for of as many, drawn at random.

    Args:
        samples: Parquet file of the study's samples.
        wanted: int64 [N], ids of the samples to look for.
    """
    content = "text" if "text" in pq.read_schema(samples).names else "image"
    table = pq.read_table(
        samples, columns=["sample_id", content], filters=[("part", "=", "pool")]
    ).to_pandas()
    ids = table["sample_id"].to_numpy()
    asked = np.isin(ids, wanted)
    if asked.sum() > MAX_QUERIES:
        kept = np.random.default_rng(0).choice(np.flatnonzero(asked), MAX_QUERIES, replace=False)
        asked = np.isin(np.arange(len(ids)), kept)
    nearest = nearest_samples(table, asked)
    return pd.Series(np.nan_to_num(nearest.similarity[asked]), index=ids[asked])


def _trained_on(connection: duckdb.DuckDBPyConnection, study: Study) -> np.ndarray:
    query = "SELECT DISTINCT sample_id FROM memorization WHERE study = ? ORDER BY sample_id"
    return np.asarray(connection.execute(query, [study.name]).fetchnumpy()["sample_id"])


def skewness_points(subject: Subject) -> pd.DataFrame:
    """over, value, measure (skewness, mean), estimate, low, high, n of the audited model."""
    return subject.frame(
        """
        SELECT over, value, measure, estimate, low, high, n FROM memorization_skewness
        WHERE study = $study AND target_seed = $target AND measure IN ('skewness', 'mean') ORDER BY over, value, measure
        """
    )
