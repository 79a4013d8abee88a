"""The sensor of a nightly study, and its conditions put on its assets."""

from collections.abc import Iterable

import dagster as dg

from memo_assets.automation.conditions import condition
from memo_assets.automation.watch import Watch
from memo_assets.config import Study
from memo_assets.graph import steps

NIGHTLY_TAG = "memo/nightly"


def with_conditions(study: Study, assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Assets of a study, each with its automation condition.

    Args:
        study: a study with `nightly`.
        assets: its assets.
    """
    watch, names = Watch(study), steps(study)

    def automated(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.path[-1]
        return spec.replace_attributes(automation_condition=condition(watch, name)) if name in names else spec

    return list(dg.map_asset_specs(automated, list(assets)))


def nightly_sensor(study: Study) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions of a study, every half minute.

    A sensor a study: each can be stopped by itself in the web UI, and Dagster allows 500 assets a sensor. It runs as soon
    as a daemon does, since the study has said that it is to be redone.

    Args:
        study: a study with `nightly`.
    """
    nightly = study.nightly
    assert nightly is not None
    most = (
        ""
        if nightly.max_seeds_per_night is None
        else f", at most {nightly.max_seeds_per_night} split seeds a night"
    )
    return dg.AutomationConditionSensorDefinition(
        f"{study.name}__nightly",
        target=dg.AssetSelection.groups(study.name),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Brings the study {study.name} up to date by itself, since its file has a block `nightly`: no further "
        f"switch is needed, and this one stops it. GPU-bound assets: missing, stale and failed split seeds, at cron "
        f"{nightly.cron} ({nightly.timezone}){most}. All others: as soon as what they read is there.",
        run_tags={NIGHTLY_TAG: study.name, "study": study.name},
        emit_backfills=True,
        # Conditions of our own are Python objects that the daemon cannot read out of a snapshot: it must ask the code
        # location. So it also sees the code versions and the study file that the code location has loaded.
        use_user_code_server=True,
    )
