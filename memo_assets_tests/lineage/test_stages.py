"""Which assets are brought up to date in one run, and that nothing is made that may turn out to be fresh."""

from itertools import groupby

import dagster as dg
import pytest

from memo_assets.config import Study
from memo_assets.graph import steps
from memo_assets.pipeline import RunFailed, stages
from memo_assets.status import partition_keys
from memo_assets.study_file import load_study
from memo_assets_tests.lineage.cheap import Words, materialize, run, state_of

SEEDS = [str(seed) for seed in range(4)]
FIRST = ["raw_dataset", "samples"]


def runs(instance: dg.DagsterInstance, since: int) -> list[set[str]]:
    """Assets of each run after the first ones, oldest first."""
    return [
        {key.path[-1] for key in run.asset_selection or ()}
        for run in reversed(instance.get_runs()[: instance.get_runs_count() - since])
    ]


@pytest.mark.parametrize("name", ["digits", "cities"])
def test_stages_hold_every_asset_once_after_what_it_needs(name: str) -> None:
    study = load_study(name)
    order = [asset for stage in stages(study) for asset in stage]
    assert sorted(order) == sorted(steps(study))
    for asset, step in steps(study).items():
        assert all(order.index(upstream) < order.index(asset) for upstream in step.upstream)
    for stage in stages(study):
        assert len({tuple(partition_keys(study, asset)) for asset in stage}) == 1


def test_what_is_missing_is_made_in_as_few_runs_as_can_be(new: Study, empty: dg.DagsterInstance) -> None:
    made = run(new, Words(), empty)
    assert len(made) == len(set(made)) == sum(len(partition_keys(new, name)) for name in steps(new))
    first, seeds, *others = runs(empty, 0)
    assert first >= {*FIRST, "audit", "at_risk", "audit_report"}
    assert seeds == {"split_masks", "adapters", "logits"}
    assert [{"layer_scores"}, {"shadow_logits"}] == others[:2]
    assert len(others) == 3
    assert state_of(new, empty) == {}
    seeds_made = [(name, part) for name, part in made if name in seeds]
    assert seeds_made == [(name, seed) for name in ("split_masks", "adapters", "logits") for seed in SEEDS]


def test_seeds_that_lack_other_steps_are_made_step_by_step(new: Study, empty: dg.DagsterInstance) -> None:
    words = Words()
    assert materialize(new, words, empty, *FIRST)
    assert materialize(new, words, empty, "split_masks", partitions=("1", "2"))
    before = empty.get_runs_count()
    made = [
        (name, part) for name, part in run(new, words, empty) if name in ("split_masks", "adapters", "logits")
    ]
    assert [name for name, _ in groupby(made, key=lambda found: found[0])] == [
        "split_masks",
        "adapters",
        "logits",
    ]
    assert [part for name, part in made if name == "split_masks"] == ["0", "3"]
    assert [part for name, part in made if name == "adapters"] == SEEDS
    selected = [of for of in runs(empty, before) if of & {"split_masks", "adapters", "logits"}]
    assert selected == [{"split_masks"}, {"split_masks"}, {"adapters"}, {"logits"}]


def test_a_failure_leaves_what_it_was_needed_for(new: Study, empty: dg.DagsterInstance) -> None:
    words = Words(failing={("adapters", "2")})
    with pytest.raises(RunFailed, match="own/adapters"):
        run(new, words, empty)
    left = state_of(new, empty)
    assert ("logits", "0") in left
    assert ("split_masks", "0") not in left
    words.failing.clear()
    run(new, words, empty)
    assert state_of(new, empty) == {}
