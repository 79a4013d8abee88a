"""What every asset of a study has in common: key, upstream, code version, group, description, partitions.

What belongs here: turning `graph` into arguments of `@dagster.asset`. What does not: any computation.
"""

from collections.abc import Callable
from typing import Any, get_args

import dagster as dg

from memo_assets.config import GpuStep, Study
from memo_assets.graph import AUDIT, code_versions, steps
from memo_assets.store.schema import TABLES
from memo_assets.study_figures import STUDY_FIGURES

SOURCE = "source"  # observed, and no step: it is never run and has no code version
# The first reads it. The second is marked with it, so that one sees what a changed source concerns.
_MADE_FROM_SOURCE = ("raw_dataset", "samples")
_ALL = 1_000_000  # partitions a run: more than any study has
_PARTITIONED_BY_SEED = ("split_masks", "adapters", "logits")

_DESCRIPTIONS = {
    "raw_dataset": "The labelled items as they come from the source, one row each; the row number becomes sample_id.",
    "samples": "Items as the models see them: prompt, options, given label (label noise applied to the pool), "
    "pool or test. Also the table `samples`.",
    "protected": "Samples that the audit of the base study flags, and how this variant is trained on them: not at all, with "
    "another label, or on another sample in their place.",
    "split_masks": "Which pool samples each model is trained on: a random draw per split seed.",
    "base_model": "The frozen language model that all adapters share.",
    "adapters": "Trained weights of one model per split seed, at every checkpoint; many seeds train at once.",
    "logits": "Forward pass of every checkpoint over all samples: option logits, loss and logit gap.",
    "audit": "One model trained on the whole pool, stopped where its median loss is low, and the scores of every sample "
    "there. Needs no shadow models.",
    "at_risk": "The pool ranked by the audit, with the most similar samples and suspected label errors. Table `at_risk`.",
    "audit_report": "The audit as one page, with its summary as JSON (memo verify checks it), CSV and Parquet.",
    "layer_scores": "PSMI, Mahalanobis distance and sliced mutual information of every layer and checkpoint of the "
    "audited models. Hidden states are reduced at once and never stored.",
    "answer_variation": "Training questions asked anew with the right option's text replaced by 'None of the other answers': "
    "logit gaps of the audited models at the last checkpoint, before and after.",
    "shadow_logits": "Bulk load of a block of split seeds into the warehouse: tables `logits`, `logit_moments`, "
    "`split_masks`, `checkpoints`.",
    "memorization": "Ground truth: memorization of every training sample of the audited models by the study's attack, "
    "and the scores of all attacks. Tables `memorization`, `memorization_scores`.",
    "label_stability": "How well labels from fewer shadow models agree, and whether more are worth training. Table "
    "`label_stability`.",
    "memorization_skewness": "How unevenly memorization is spread over samples: over checkpoints, number of samples and "
    "similarity to other samples. Table `memorization_skewness`.",
    "variation_summary": "Whether memorized samples are still answered right when the right option says something else. Tables "
    "`answer_variation`, `answer_variation_summary`.",
    "population_memorization": "Average vulnerability of every pool sample over all models: counterfactual "
    "memorization, simplicity, attack success rate. Table `population_memorization`.",
    "predictor_scores": "Early scores of every training sample: PSMI, loss, logit gap, Mahalanobis, trajectories. "
    "Table `predictor_scores`.",
    "predictor_evaluation": "Every predictor at every checkpoint, judged by the final labels. Table "
    "`predictor_evaluation`.",
    **{entry.name: entry.description for entry in STUDY_FIGURES},
    "report": "One self-contained page: figures, training facts, evaluation, samples most at risk, settings.",
}

_KINDS = {
    "raw_dataset": {"parquet"},
    "samples": {"parquet", "duckdb"},
    "protected": {"parquet"},
    "split_masks": {"parquet"},
    "base_model": {"huggingface"},
    "adapters": {"pytorch"},
    "logits": {"pytorch", "parquet"},
    "layer_scores": {"pytorch", "parquet"},
    "audit": {"pytorch", "parquet"},
    "audit_report": {"html"},
    "answer_variation": {"pytorch", "parquet"},
    "shadow_logits": {"duckdb"},
    "report": {"html"},
}

_TABLE_OF = {"samples": "samples", "at_risk": "at_risk", "shadow_logits": "logits", "memorization": "memorization",
             "label_stability": "label_stability", "memorization_skewness": "memorization_skewness",
             "variation_summary": "answer_variation_summary",
             "population_memorization": "population_memorization", "predictor_scores": "predictor_scores",
             "predictor_evaluation": "predictor_evaluation"}  # fmt: skip


def asset_key(study: Study, name: str) -> dg.AssetKey:
    """Key of an asset: the study's name, then the asset's."""
    return dg.AssetKey([study.name, name])


def seed_partitions(study: Study) -> dg.StaticPartitionsDefinition:
    """All split seeds of a study."""
    return dg.StaticPartitionsDefinition([str(seed) for seed in study.seeds])


def audited_partitions(study: Study) -> dg.StaticPartitionsDefinition:
    """Split seeds of the audited models."""
    return dg.StaticPartitionsDefinition([str(seed) for seed in study.shadows.audited])


def blocks(study: Study) -> dict[str, list[int]]:
    """Blocks of split seeds by partition key, such as `000-024`."""
    size, seeds = study.shadows.block, list(study.seeds)
    groups = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    return {f"{group[0]:03d}-{group[-1]:03d}": group for group in groups}


def block_partitions(study: Study) -> dg.StaticPartitionsDefinition:
    """Partition keys of the blocks."""
    return dg.StaticPartitionsDefinition(list(blocks(study)))


def study_asset(study: Study, name: str, **options: Any) -> Callable[[Callable], dg.AssetsDefinition]:
    """Decorator for the function of one step: `@dagster.asset` with all that the graph says of the step.

    Args:
        study: the study.
        name: a step of `graph.steps`.
        options: further arguments of `@dagster.asset`, such as `pool`.
    """
    decorator: Any = dg.asset(**asset_options(study, name), **options)
    return decorator


def asset_options(study: Study, name: str) -> dict[str, Any]:
    """Keyword arguments of `@dagster.asset` for one step of a study.

    Args:
        study: the study.
        name: a step of `graph.steps`.
    """
    step = steps(study)[name]
    options: dict[str, Any] = {
        "key": asset_key(study, name),
        "deps": [
            dg.AssetDep(asset_key(study, upstream), partition_mapping=_mapping(study, upstream, name))
            for upstream in step.upstream
        ]
        + [dg.AssetDep(asset_key(study, SOURCE))] * (name in _MADE_FROM_SOURCE)
        + _of_base_study(study, name),
        "code_version": code_versions(study)[name],
        "group_name": study.name,
        "kinds": _KINDS.get(name, {"plotly"} if name.startswith("figure") else {"duckdb"}),
        "description": _DESCRIPTIONS[name],
        "metadata": _definition_metadata(study, name),
        "owners": study.owners,
        "tags": {"cost": "gpu"} if name in get_args(GpuStep) else {},
    }
    if partitions := _partitions(study, name):
        options |= {"partitions_def": partitions, "backfill_policy": _backfill_policy(name)}
    return options


def _of_base_study(study: Study, name: str) -> list[dg.AssetDep]:
    """What an asset of a protected variant reads of its base study."""
    if name != "protected" or study.protection is None:
        return []
    return [dg.AssetDep(dg.AssetKey([study.protection.base, AUDIT]))]


def _backfill_policy(name: str) -> dg.BackfillPolicy:
    """All partitions in one run each, if there is no gap between them.

    Dagster puts assets of one policy into one run, where a failed adapter would keep the logits of all others from being
    made. A limit that is never reached is another policy: logits and scores have runs of their own, for what succeeded.
    """
    if name in ("logits", "layer_scores", "answer_variation"):
        return dg.BackfillPolicy.multi_run(_ALL)
    return dg.BackfillPolicy.single_run()


def _partitions(study: Study, name: str) -> dg.StaticPartitionsDefinition | None:
    if name in _PARTITIONED_BY_SEED:
        return seed_partitions(study)
    if name in ("layer_scores", "answer_variation"):
        return audited_partitions(study)
    return block_partitions(study) if name == "shadow_logits" else None


def _mapping(study: Study, upstream: str, name: str) -> dg.PartitionMapping | None:
    """Which upstream partitions a partition needs; None where one side has no partitions."""
    if upstream not in _PARTITIONED_BY_SEED or _partitions(study, name) is None:
        return None
    if name == "shadow_logits":
        block_of = {str(seed): block for block, seeds in blocks(study).items() for seed in seeds}
        return dg.StaticPartitionMapping(block_of)
    return dg.IdentityPartitionMapping()


def _definition_metadata(study: Study, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"study": study.title}
    if table := _TABLE_OF.get(name):
        metadata["dagster/table_name"] = f"memo.main.{table}"
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, description=column.text)
                for column in TABLES[table].columns
            ]
        )
    return metadata
