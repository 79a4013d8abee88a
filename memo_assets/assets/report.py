"""The study's report: one page made from the warehouse and the figures."""

import dagster as dg

from memo_assets import __version__
from memo_assets.assets.spec import study_asset
from memo_assets.config import Study
from memo_assets.store.layout import Layout
from memo_assets.study_figures import figures_of

_LIMITS = (
    "Memorized means that a membership attack on the model's outputs, given these shadow models, tells that a sample was "
    "trained on. Other attacks may find more.",
    "Labels are known only for samples that the audited model was trained on.",
    "The audited model is one draw: another split seed gives other samples and somewhat other figures.",
)


def build(study: Study) -> list[dg.AssetsDefinition]:
    """Asset `report`.

    Args:
        study: the study.
    """

    @study_asset(study, "report")
    def report() -> dg.MaterializeResult:
        from memo_assets.figures.report import report_html
        from memo_assets.store.files import content_hash, write_text
        from memo_assets.store.tables import reading

        layout = Layout.of(study.name)
        with reading() as connection:
            content = _content(connection, study, layout)
        write_text(layout.report, report_html(content))
        metadata = {"page": dg.MetadataValue.path(layout.report)}
        return dg.MaterializeResult(
            metadata=metadata, data_version=dg.DataVersion(content_hash(layout.report))
        )

    return [report]


def _content(connection, study: Study, layout: Layout):
    import yaml

    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.facts import at_risk, facts, results
    from memo_assets.analysis.frames import Subject, training_curves
    from memo_assets.figures.report import ReportContent, Summary
    from memo_assets.store.files import read_json

    subject = Subject(connection, study, study.shadows.audited[0])
    known, table = facts(subject), results(subject)
    psmi = table[(table["predictor"] == "psmi") & table["is_last_layer"]].iloc[0]
    risky = at_risk(subject)
    if not study.show_text:
        risky = risky.drop(columns="text")
    elif not study.is_language:
        risky = risky.drop(columns="text").assign(image=_pictures(layout, risky["sample_id"].tolist()))
    figures = [
        (entry.heading, entry.text, read_json(layout.figure(entry.name, "json")))
        for entry in figures_of(study)
    ]
    curves = training_curves(subject).pivot_table(
        index="epoch", columns="part", values=["median_loss", "accuracy"]
    )
    curves.columns = [
        f"{part}: {'accuracy' if value == 'accuracy' else 'median loss'}"
        for value, part in curves.columns.to_flat_index()
    ]
    return ReportContent(
        title=study.title,
        description=study.description,
        summary=Summary(
            samples=known.train,
            models=study.shadows.models,
            train_accuracy=known.train_accuracy,
            test_accuracy=known.test_accuracy,
            noisy_share=known.noisy_share,
            noisy_in_top=known.noisy_in_top,
            psmi_auc=float(psmi["auc"]),
            psmi_fpr_at_tpr=float(psmi["fpr_at_tpr"]),
            prediction_epoch=subject.prediction_epoch,
            last_epoch=study.training.checkpoints[-1],
            tpr=TPR_OBJECTIVE,
            memorized_share=subject.memorized_share,
        ),
        figures=figures,
        training_facts=curves.reset_index(),
        evaluation=table.assign(layer=table["layer"].where(table["layer"] > 0)),
        at_risk=risky,
        settings=yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        provenance=_provenance(study),
        limits=_LIMITS,
    )


def _pictures(layout: Layout, sample_ids: list[int]) -> list:
    """Images of some samples as `report_tables.picture` takes them: those of a source without shapes as ink on paper."""
    import pandas as pd

    from memo_assets.data.images import image_shape

    samples = pd.read_parquet(layout.samples, filters=[("sample_id", "in", sample_ids)])
    shape = image_shape(samples)
    images = samples.set_index("sample_id")["image"].loc[sample_ids]
    return [image.reshape(shape if "image_shape" in samples else shape[1:]) for image in images]


def _provenance(study: Study) -> dict[str, str]:
    from importlib.metadata import version

    from memo_assets.graph import code_versions

    packages = ("dagster", "torch", "transformers", "peft", "duckdb", "scikit-learn")
    return {
        "memo_assets": __version__,
        **{name: version(name) for name in packages},
        "code version of the evaluation": code_versions(study)["predictor_evaluation"],
    }
