"""Predictor scores and their evaluation."""

from typing import Any

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.undamaged import Written
from memo_assets.assets.warehouse import POOL, publish_tables
from memo_assets.config import Study
from memo_assets.store.layout import Layout


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Assets `predictor_scores` and `predictor_evaluation`.

    Args:
        study: the study.
    """

    @study_asset(study, "predictor_scores", pool=POOL)
    def predictor_scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.analysis.predictors import (
            layer_summaries,
            target_prediction_epoch,
            weight_norms,
        )
        from memo_assets.analysis.predictors import predictor_scores as compute
        from memo_assets.store.tables import reading

        layout, targets = Layout.of(study.name), study.shadows.audited
        Written(study, context.instance).require("layer_scores", targets)
        with reading() as connection:
            frames = [compute(connection, study, target, layout.layer_scores(target)) for target in targets]
            epochs = {str(target): target_prediction_epoch(connection, study, target) for target in targets}
        frame = pd.concat(
            [scores.assign(target_seed=target) for target, scores in zip(targets, frames, strict=True)]
        )
        trigger = study.training.trigger
        drop, field = (
            (study.scores.loss_drop, "scores.loss_drop")
            if trigger is None
            else (trigger.drop, "training.trigger.drop")
        )
        for target, epoch in epochs.items():
            if epoch is None:
                context.log.warning(
                    f"target {target}: the median training loss never fell by {drop:.0%}, so there is no prediction epoch; "
                    f"figures show the last checkpoint. Train longer or lower {field}"
                )
        tables = {
            "predictor_scores": frame,
            "layer_summary": layer_summaries(layout, targets),
            "weight_norms": weight_norms(layout, targets),
        }
        version = publish_tables(context, study, tables)
        metadata = {
            "dagster/row_count": len(frame),
            "predictors": int(frame["predictor"].nunique()),
            "prediction_epoch": epochs[str(targets[0])],
        }
        return dg.MaterializeResult(
            metadata={name: value for name, value in metadata.items() if value is not None},
            data_version=dg.DataVersion(version),
        )

    @study_asset(study, "predictor_evaluation", pool=POOL)
    def predictor_evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.analysis.evaluation import predictor_evaluation as compute
        from memo_assets.analysis.facts import facts, results
        from memo_assets.analysis.frames import Subject
        from memo_assets.store.tables import reading

        targets = study.shadows.audited
        with reading() as connection:
            frames = [compute(connection, study, target).assign(target_seed=target) for target in targets]
        frame = pd.concat(frames)
        version = publish_tables(context, study, {"predictor_evaluation": frame})
        with reading() as connection:
            subject = Subject(connection, study, targets[0])
            known, table, judged_epoch = facts(subject), results(subject), subject.judged_epoch
        last = table[table["is_last_layer"]].set_index("predictor")
        auc = last["auc"]
        metadata: dict = {
            "dagster/row_count": len(frame),
            "psmi_auc": float(auc["psmi"]),
            "psmi_fpr_at_tpr_75": float(last["fpr_at_tpr"]["psmi"]),
            "loss_auc": float(auc["loss"]),
            "logit_gap_auc": float(auc["logit_gap"]),
            "train_accuracy": known.train_accuracy,
            "test_accuracy": known.test_accuracy,
            "judged_epoch": judged_epoch,
        }
        columns = ["predictor", "layer", "auc", "fpr_at_tpr", "tpr_at_fpr_01"]
        records: list[Any] = table[columns].round(3).to_dict("records")
        metadata["evaluation"] = dg.MetadataValue.table([dg.TableRecord(record) for record in records])
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))

    return [predictor_scores, predictor_evaluation]
