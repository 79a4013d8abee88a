"""The asset checks of one study: each calls one function of `memo_assets.checks` and tells Dagster what it found.

What belongs here: which files, split seeds or tables a check is given, and its result. What does not: names and words
(`check_list`), what is left to judge (`check_records`), the checks themselves.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from memo_assets.assets.check_list import PROVENANCE, Check, study_checks
from memo_assets.assets.check_records import (
    JUDGED_UP_TO,
    SEEDS_AT_FAULT,
    current_partitions,
    is_current,
    seeds_there,
    to_judge,
)
from memo_assets.assets.provenance_check import compared
from memo_assets.assets.spec import asset_key, blocks
from memo_assets.checks.verdict import Verdict, not_judged
from memo_assets.config import Study
from memo_assets.store.files import read_json
from memo_assets.store.layout import Layout
from memo_assets.store.schema import tables_of


def build(study: Study) -> list[dg.AssetChecksDefinition]:
    """All asset checks of a study.

    Args:
        study: the study.
    """
    return [_definition(study, check) for check in study_checks(study)]


def _definition(study: Study, check: Check) -> dg.AssetChecksDefinition:
    severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN

    @dg.asset_check(
        asset=asset_key(study, check.asset),
        name=check.name,
        description=check.description,
        blocking=check.blocking,
        additional_deps=[asset_key(study, "samples")] if check.asset == "base_model" else None,
    )
    def judge(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        verdict, kept = _judged_or_unreadable(context.instance, study, check)
        if not verdict.passed:
            (context.log.error if check.blocking else context.log.warning)(verdict.sentence)
        if verdict.seeds:
            kept[SEEDS_AT_FAULT] = list(verdict.seeds)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=severity,
            description=verdict.sentence,
            # A count of faults that is 0 tells nothing that `passed` does not, and would be plotted for ever.
            metadata={
                **{name: value for name, value in verdict.facts.items() if type(value) is not int or value},
                **kept,
            },
        )

    return judge


def _judged_or_unreadable(
    instance: dg.DagsterInstance, study: Study, check: Check
) -> tuple[Verdict, dict[str, Any]]:
    """What a check finds; a file or table that cannot be read fails the check, and not the whole step."""
    import duckdb
    from pyarrow import ArrowException
    from safetensors import SafetensorError

    from memo_assets.store.tables import WarehouseError

    try:
        return _judged(instance, study, check)
    except (OSError, ValueError, ArrowException, SafetensorError, duckdb.Error, WarehouseError) as error:
        said = str(error).strip().rstrip(".")
        sentence = (
            f"what {check.asset} left cannot be read: {type(error).__name__}: {said}. Materialize {check.asset} again, or "
            "execute this check again if what hindered it has passed"
        )
        return Verdict(passed=False, sentence=sentence), {}


def _judged(instance: dg.DagsterInstance, study: Study, check: Check) -> tuple[Verdict, dict[str, Any]]:
    """What a check finds, and what its next evaluation has to know."""
    layout, asset = Layout.of(study.name), check.asset
    if check.name in ("weights_changed", "loss_fell", "logits_complete", "accuracy_above_chance"):
        new = to_judge(instance, study, check)
        seeds = seeds_there(study, asset, new.partitions)
        return _of_seeds(study, layout, check.name, seeds), {JUDGED_UP_TO: new.up_to}
    if check.name == PROVENANCE:
        return compared(instance, study, asset), {}
    if check.name == "labels_tokenizable":
        return _of_tokens(study, layout, has_base=is_current(instance, study, "base_model")), {}
    if asset in ("split_masks", "layer_scores"):
        recorded = current_partitions(instance, study, asset).partitions
        return _of_masks(study, layout, check.name, seeds_there(study, asset, recorded)), {}
    if asset == "shadow_logits":
        recorded, seeds_of = current_partitions(instance, study, asset).partitions, blocks(study)
        return _of_blocks(layout, [seed for block in recorded for seed in seeds_of[block]]), {}
    if check.name == "ids_unique_and_stable":
        from memo_assets.checks.samples import ids_unique_and_stable

        return ids_unique_and_stable(layout), {}
    return _of_tables(study, layout, check), {}


def _of_seeds(study: Study, layout: Layout, name: str, seeds: list[int]) -> Verdict:
    from memo_assets.checks import logits, training

    if name == "weights_changed":
        return training.weights_changed(layout, study.training, seeds)
    if name == "loss_fell":
        return training.loss_fell(layout, study.training, seeds)
    if name == "logits_complete":
        return logits.logits_complete(layout, study, seeds)
    return logits.accuracy_above_chance(layout, study, seeds)


def _of_tokens(study: Study, layout: Layout, *, has_base: bool) -> Verdict:
    """By the tokenizer of the recorded base model, if it is of these settings, or else of the one that they name."""
    from memo_assets.checks.tokens import labels_tokenizable

    if not layout.samples.exists():
        return not_judged("there are no samples yet; their own check will judge")
    tokenizer: str | Path
    if has_base and layout.base_model.exists():
        record = read_json(layout.base_model)
        tokenizer = layout.base_models / record["folder"] if "folder" in record else record["name"]
        revision = record.get("revision")
    elif study.model.kind == "pretrained":
        tokenizer, revision = study.model.name, study.model.revision
    else:
        return not_judged(
            "the base model, which the study makes itself, is not there yet; its own check will judge"
        )
    return labels_tokenizable(layout.samples, tokenizer, revision, study)


def _of_masks(study: Study, layout: Layout, name: str, seeds: list[int]) -> Verdict:
    from memo_assets.checks.masks import masks_balanced
    from memo_assets.checks.predictors import psmi_classes_large_enough

    if name == "masks_balanced":
        return masks_balanced(layout, study.shadows, seeds)
    return psmi_classes_large_enough(layout, seeds)


def _of_blocks(layout: Layout, seeds: list[int]) -> Verdict:
    from memo_assets.checks.warehouse import rows_of_seeds
    from memo_assets.store.tables import reading

    with reading() as connection:
        return rows_of_seeds(connection, layout, seeds)


def _of_tables(study: Study, layout: Layout, check: Check) -> Verdict:
    from memo_assets.checks import labels, predictors, warehouse
    from memo_assets.store.tables import reading

    with reading() as connection:
        if check.name == "enough_shadows":
            return labels.enough_shadows(connection, study)
        if check.name == "labels_not_degenerate":
            return labels.labels_not_degenerate(connection, study)
        if check.name == "auc_above_half":
            return predictors.auc_above_half(connection, study.name)
        return warehouse.rows_of_tables(connection, layout, tables_of(check.asset))
