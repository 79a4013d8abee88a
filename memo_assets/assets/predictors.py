"""Predictor scores and their evaluation."""

from typing import Any

import dagster as dg

from memo_assets.assets.spec import study_asset
from memo_assets.assets.warehouse import POOL, publish_table
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
        import pyarrow as pa

        from memo_assets.analysis.predictors import (
            layer_summaries,
            target_prediction_epoch,
            weight_norms,
        )
        from memo_assets.analysis.predictors import predictor_scores as compute
        from memo_assets.store.files import write_parquet
        from memo_assets.store.tables import reading

        layout, targets = Layout.of(study.name), study.shadows.audited
        with reading() as connection:
            frames = [compute(connection, study, target, layout.layer_scores(target)) for target in targets]
            epochs = {str(target): target_prediction_epoch(connection, study, target) for target in targets}
        frame = pd.concat(
            [scores.assign(target_seed=target) for target, scores in zip(targets, frames, strict=True)]
        )
        for target, epoch in epochs.items():
            if epoch is None:
                context.log.warning(
                    f"target {target}: the median training loss never fell by {study.scores.loss_drop:.0%}, so "
                    "there is no prediction epoch; figures show the last checkpoint. Train longer or lower "
                    "scores.loss_drop"
                )
        further = {
            "layer_summary": layer_summaries(layout, targets),
            "weight_norms": weight_norms(layout, targets),
        }
        for name, rows in further.items():
            write_parquet(layout.table(name), pa.Table.from_pandas(rows, preserve_index=False))
        version = publish_table(
            study, "predictor_scores", frame, {name: layout.table(name) for name in further}
        )
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
    def predictor_evaluation() -> dg.MaterializeResult:
        import pandas as pd

        from memo_assets.analysis.evaluation import predictor_evaluation as compute
        from memo_assets.analysis.facts import facts, results
        from memo_assets.analysis.frames import Subject
        from memo_assets.store.tables import reading

        targets = study.shadows.audited
        with reading() as connection:
            frames = [compute(connection, study, target).assign(target_seed=target) for target in targets]
        frame = pd.concat(frames)
        version = publish_table(study, "predictor_evaluation", frame)
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
