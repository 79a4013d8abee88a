"""Figures and a page over all studies: which of them are in the warehouse is found out when they are drawn."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from memo_assets.assets import mitigations
from memo_assets.assets.pictures import write_figures
from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.config.base import COMPARISON
from memo_assets.graph import code_versions
from memo_assets.store.layout import Layout
from memo_assets.study_protections import protected_studies
from memo_assets.study_sweep import swept_studies

if TYPE_CHECKING:
    from memo_assets.figures.comparison_report import ComparisonContent

# Raise it when the same inputs would give other figures.
ALGORITHM = 2

FIGURES = {
    "figure_predictors": "False positive rate of each predictor, a line a study.",
    "figure_default_rule": "False and true positive rate of the rule PSMI < 0, a point a study, beside the published ones.",
    "figure_roc_grid": "ROC curves, a row a study and a column a checkpoint.",
    "figure_sweeps": "False positive rates and test accuracy over the values of each swept field, a point a variant.",
    "figure_mitigations": "What an attack tells of protected variants and how accurate they are, a row a study.",
}
HEADINGS = {
    "figure_predictors": "Predictors over studies",
    "figure_default_rule": "The rule PSMI < 0 over studies",
    "figure_roc_grid": "ROC curves over studies and epochs",
    "figure_sweeps": "Swept values",
    "figure_mitigations": "Protected variants",
}
REPORT = "report"
UPSTREAM = {
    "figure_predictors": ("predictor_evaluation",),
    "figure_default_rule": ("predictor_evaluation",),
    "figure_roc_grid": ("memorization", "predictor_scores", "predictor_evaluation"),
    "figure_sweeps": ("samples", "shadow_logits", "predictor_evaluation"),
    "figure_mitigations": (),  # it reads the table of `mitigations`
}


def build(studies: Sequence[Study]) -> list[dg.AssetsDefinition]:
    """The group `comparison`: a table, figures and a page over these studies, whichever of them are materialized.

    Args:
        studies: in the order in which they are shown.
    """
    specs = [
        dg.AssetSpec(
            key=figure_key(name),
            deps=[
                *(asset_key(study, upstream) for study in studies for upstream in UPSTREAM[name]),
                *([mitigations.KEY] if name == "figure_mitigations" else []),
            ],
            description=description,
            group_name=COMPARISON,
            kinds={"plotly"},
            code_version=_code_version(studies, name),
            skippable=True,
        )
        for name, description in FIGURES.items()
    ]

    @dg.multi_asset(
        name=f"{COMPARISON}__figures", specs=specs, can_subset=True, required_resource_keys={"pictures"}
    )
    def comparison(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from memo_assets.analysis import comparison as analysis
        from memo_assets.analysis import comparison_sweeps
        from memo_assets.analysis import mitigations as mitigation_analysis
        from memo_assets.analysis.evaluation import TPR_OBJECTIVE
        from memo_assets.figures import comparison as figures
        from memo_assets.figures import comparison_sweeps as sweep_figures
        from memo_assets.figures import mitigations as mitigation_figures
        from memo_assets.store.tables import reading

        drawn = {}
        with reading() as connection:
            compared = analysis.Comparison.of(connection, studies)
            missing = [study.name for study in compared.missing]
            if figure_key("figure_predictors") in context.selected_asset_keys:
                drawn["figure_predictors"] = figures.predictors_over_studies(
                    analysis.predictors_over_studies(compared),
                    title="Predictors over studies, each at its prediction epoch",
                    missing=missing,
                    tpr=TPR_OBJECTIVE,
                )
            if figure_key("figure_default_rule") in context.selected_asset_keys:
                drawn["figure_default_rule"] = figures.default_rule_over_studies(
                    analysis.default_rules(compared), title="The rule PSMI < 0 over studies", missing=missing
                )
            if figure_key("figure_roc_grid") in context.selected_asset_keys:
                drawn["figure_roc_grid"] = figures.roc_grid(
                    analysis.roc_grid(compared), title="ROC curves over studies and epochs", missing=missing
                )
            if figure_key("figure_sweeps") in context.selected_asset_keys:
                swept = swept_studies(studies)
                of_sweeps = {study.name for one in swept for study in one.studies}
                drawn["figure_sweeps"] = sweep_figures.over_swept_values(
                    comparison_sweeps.over_swept_values(compared, swept),
                    title="Swept values, each study at its prediction epoch",
                    missing=[name for name in missing if name in of_sweeps],
                    tpr=TPR_OBJECTIVE,
                )
            if figure_key("figure_mitigations") in context.selected_asset_keys:
                protected = protected_studies(studies)
                drawn["figure_mitigations"] = mitigation_figures.mitigations(
                    mitigation_analysis.mitigation_points(connection, protected),
                    title="Protected variants beside their studies",
                    missing=mitigation_analysis.not_in_warehouse(connection, protected),
                )
        yield from write_figures(context, Layout.of(COMPARISON), drawn.items())

    @dg.asset(
        key=figure_key(REPORT),
        deps=[
            *(figure_key(name) for name in FIGURES),
            *(asset_key(study, "predictor_evaluation") for study in studies),
        ],
        description="One page: the figures, tables of all studies, and the published values beside them.",
        group_name=COMPARISON,
        kinds={"html"},
        code_version=_code_version(studies, *FIGURES),
    )
    def comparison_report() -> dg.MaterializeResult:
        from memo_assets.figures.comparison_report import comparison_html
        from memo_assets.store.files import content_hash, write_text

        layout = Layout.of(COMPARISON)
        write_text(layout.report, comparison_html(_content(studies, layout)))
        metadata = {"page": dg.MetadataValue.path(layout.report)}
        return dg.MaterializeResult(
            metadata=metadata, data_version=dg.DataVersion(content_hash(layout.report))
        )

    return [mitigations.build(studies), comparison, comparison_report]


def figure_key(name: str) -> dg.AssetKey:
    """Key of a figure of the comparison, or of its page."""
    return dg.AssetKey([COMPARISON, name])


def _content(studies: Sequence[Study], layout: Layout) -> "ComparisonContent":
    from memo_assets.analysis import comparison as analysis
    from memo_assets.analysis.evaluation import TPR_OBJECTIVE
    from memo_assets.analysis.published import SOURCE
    from memo_assets.figures.comparison_report import ComparisonContent
    from memo_assets.store.files import read_json
    from memo_assets.store.tables import reading

    with reading() as connection:
        compared = analysis.Comparison.of(connection, studies)
        fprs = analysis.predictors_over_studies(compared)
        return ComparisonContent(
            missing=[study.name for study in compared.missing],
            fprs=fprs,
            mean_fprs=analysis.mean_fprs(fprs),
            rules=analysis.default_rules(compared),
            layers=analysis.best_layers(compared),
            figures=[
                (heading, FIGURES[name], read_json(layout.figure(name, "json")))
                for name, heading in HEADINGS.items()
            ],
            tpr=TPR_OBJECTIVE,
            source=SOURCE,
        )


def _code_version(studies: Sequence[Study], *names: str) -> str:
    upstream = [name for figure in names for name in UPSTREAM[figure]]
    versions = {study.name: code_versions(study) for study in studies}
    parts: dict[str, Any] = {
        "name": names,
        "algorithm": ALGORITHM,
        "studies": {
            study.name: [study.title, *(versions[study.name][name] for name in upstream)] for study in studies
        },
    }
    if "figure_sweeps" in names:
        parts["swept"] = {one.study.name: one.fields for one in swept_studies(studies)}
    if "figure_mitigations" in names and protected_studies(studies):
        parts["protected"] = mitigations.code_version(studies)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
