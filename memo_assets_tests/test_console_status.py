"""What `memo status` shows: a line per study, and what is not fresh in few words, however many seeds there are."""

import io
from collections.abc import Sequence

from rich.console import Console

from memo_assets.config import Study
from memo_assets.console_status import Looked, as_records, show_status
from memo_assets.graph import FIGURES, steps
from memo_assets.status import (
    FAILED,
    FRESH,
    MISSING,
    NEVER,
    STALE,
    AssetState,
    Cause,
    PartitionState,
    partition_keys,
    source_state,
)
from memo_assets_tests.studies import DIGITS
from memo_assets_tests.studies import study as make

Changes = dict[str, dict[str | None, tuple[str, Cause]]]


def looked(
    study: Study, changes: Changes, *, otherwise: PartitionState | None = None, unseen: str = ""
) -> Looked:
    """States of a study in which all is fresh, or as said, but for some partitions."""
    states = [source_state(unseen)]
    for name in steps(study):
        parts = []
        for partition in partition_keys(study, name):
            if partition in changes.get(name, {}):
                state, cause = changes[name][partition]
                parts.append(PartitionState(partition, state, (cause,)))
            elif otherwise is not None:
                parts.append(PartitionState(partition, otherwise.state, otherwise.causes))
            else:
                parts.append(PartitionState(partition, FRESH))
        states.append(AssetState(name, tuple(parts)))
    return study, states


def shown(found: Sequence[Looked], *, all_assets: bool = False) -> list[list[str]]:
    """Cells of the lines that are printed."""
    console = Console(width=200, file=io.StringIO(), record=True)
    show_status(console, found, all_assets=all_assets)
    lines = console.export_text().splitlines()
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.count("│") > 4]


LARGE = make(DIGITS, {"shadows.models": 1000, "name": "large"})
NEVER_RUN = PartitionState(None, MISSING, (Cause(NEVER),))


def test_a_thousand_seeds_are_a_few_lines() -> None:
    new = "adapters has a new data version"
    changes: Changes = {
        "adapters": {
            **{str(seed): (STALE, Cause("has a new code version")) for seed in range(100, 900)},
            **{str(seed): (FAILED, Cause("run 1a2b3c4d failed: no memory")) for seed in (3, 4, 5, 7)},
        },
        "logits": {str(seed): (STALE, Cause(new)) for seed in range(0, 1000, 2)},
        "shadow_logits": {
            f"{25 * k:03d}-{25 * k + 24:03d}": (
                STALE,
                Cause("logits has a new data version", tuple(str(seed) for seed in range(25 * k, 25 * k + 25))),
            )
            for k in range(40)
        },
        "memorization": {None: (STALE, Cause("shadow_logits has a new data version", ("000-024", "025-049", "050-074")))},
    }  # fmt: skip
    assert shown([looked(LARGE, changes)]) == [
        ["adapters", "196", "800", "", "4", "seeds 3 to 5, 7 (4): run 1a2b3c4d failed: no memory"],
        ["", "", "", "", "", "seeds 100 to 899 (800): has a new code version"],
        ["logits", "500", "500", "", "", f"seeds 0, 2, 4, 6, 8, 10, 12 and 493 more (500): {new}"],
        ["shadow_logits", "", "40", "", "", "logits has a new data version (seeds 0 to 999 (1000))"],
        ["memorization", "", "1", "", "", "shadow_logits has a new data version (blocks 000-024, 025-049 and 1 more)"],
    ]  # fmt: skip


def test_several_studies_are_a_line_each_then_what_is_not_fresh_of_those_that_were_run() -> None:
    tiny, other, gone = (
        make(DIGITS, {"name": name, "title": f"Study {name}"}) for name in ("tiny", "other", "gone")
    )
    failed = (FAILED, Cause("run 1a2b3c4d failed: interrupted"))
    lines = shown(
        [
            looked(tiny, {"adapters": {"2": failed}, "report": {None: failed}}),
            looked(other, {}, otherwise=NEVER_RUN),
            looked(gone, {}, otherwise=NEVER_RUN, unseen="data set a/b is not in the cache: run `memo fetch STUDY`"),
            looked(LARGE, {}, unseen="no file"),
        ]
    )  # fmt: skip
    n_parts = len(steps(tiny)) - 5 + 3 * 4 + 1 + 1
    assert lines == [
        ["tiny", str(n_parts + 1 - 2), "", "", "2", "adapters, report"],
        ["other", "1", "", str(n_parts), "", "never run"],
        ["gone", "", "", str(n_parts + 1), "", "never run; its data are not on this machine"],
        ["large", str(n_parts + 3 * 996 + 39), "", "1", "", "all fresh, but its source cannot be seen"],
        ["adapters", "3", "", "", "1", "seed 2: run 1a2b3c4d failed: interrupted"],
        ["report", "", "", "", "1", "run 1a2b3c4d failed: interrupted"],
    ]


def test_figures_alike_are_one_line() -> None:
    study = make(DIGITS)
    figures = [name for name in steps(study) if name in FIGURES]
    changes: Changes = {name: {None: (STALE, Cause("has a new code version"))} for name in figures}
    changes["figure_roc"] = {None: (FAILED, Cause("run 1a2b3c4d failed: no browser"))}
    assert shown([looked(study, changes)]) == [
        ["figure_roc", "", "", "", "1", "run 1a2b3c4d failed: no browser"],
        [f"{len(figures) - 1} figures", "", str(len(figures) - 1), "", "", "has a new code version"],
    ]
    named = shown([looked(study, {})], all_assets=True)
    assert [f"{len(figures)} figures", str(len(figures)), "", "", "", ""] in named
    assert len(named) == 2 + len(steps(study)) - len(figures)  # the source too
    many = shown(
        [looked(study, changes), looked(LARGE, {}, otherwise=PartitionState(None, STALE, (Cause("x"),)))]
    )
    assert many[0][-1] == f"{len(figures)} figures"
    assert many[1][-1].startswith("raw_dataset, samples, split_masks, audit and ")


def test_as_records_nothing_is_left_out() -> None:
    study = make(DIGITS)
    changes: Changes = {
        "shadow_logits": {"000-003": (STALE, Cause("logits has a new data version", ("1", "2")))}
    }
    (record,) = as_records([looked(study, changes, unseen="no file")])
    assert record["study"] == "tiny"
    assets = {asset.pop("asset"): asset for asset in record["assets"]}
    assert list(assets) == ["source", *steps(study)]
    fresh = {"fresh": 1, "stale": 0, "missing": 0, "failed": 0, "not_fresh": []}
    assert assets["samples"] == fresh
    assert assets["source"]["not_fresh"] == [{"state": "missing", "cause": "no file", "partitions": []}]
    assert assets["shadow_logits"] == {
        **fresh,
        "fresh": 0,
        "stale": 1,
        "not_fresh": [
            {
                "state": "stale",
                "cause": "logits has a new data version (seeds 1 to 2 (2))",
                "partitions": ["000-003"],
            }
        ],
    }
