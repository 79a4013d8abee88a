"""Figures over all studies: which of them are in the warehouse is found out when they are drawn."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import dagster as dg

from memo_assets.assets.pictures import write_figures
from memo_assets.assets.spec import asset_key
from memo_assets.config import Study
from memo_assets.config.base import COMPARISON
from memo_assets.graph import code_versions
from memo_assets.store.layout import Layout

# Raise it when the same inputs would give other figures.
ALGORITHM = 1

FIGURES = {
    "figure_predictors": "False positive rate of each predictor, a line a study.",
    "figure_default_rule": "False and true positive rate of the rule PSMI < 0, a point a study, beside the published ones.",
    "figure_roc_grid": "ROC curves, a row a study and a column a checkpoint.",
}
UPSTREAM = {
    "figure_predictors": ("predictor_evaluation",),
    "figure_default_rule": ("predictor_evaluation",),
    "figure_roc_grid": ("memorization", "predictor_scores", "predictor_evaluation"),
}


def build(studies: Sequence[Study]) -> list[dg.AssetsDefinition]:
    """The group `comparison`: figures over these studies, whichever of them are materialized.

    Args:
        studies: in the order in which they are shown.
    """
    specs = [
        dg.AssetSpec(
            key=figure_key(name),
            deps=[asset_key(study, upstream) for study in studies for upstream in UPSTREAM[name]],
            description=description,
            group_name=COMPARISON,
            kinds={"plotly"},
            code_version=_code_version(studies, name),
            skippable=True,
        )
        for name, description in FIGURES.items()
    ]

    @dg.multi_asset(name=f"{COMPARISON}__figures", specs=specs, can_subset=True)
    def comparison(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from memo_assets.analysis import comparison as analysis
        from memo_assets.analysis.evaluation import TPR_OBJECTIVE
        from memo_assets.figures import comparison as figures
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
        yield from write_figures(context, Layout.of(COMPARISON), drawn)

    return [comparison]


def figure_key(name: str) -> dg.AssetKey:
    """Key of a figure of the comparison."""
    return dg.AssetKey([COMPARISON, name])


def _code_version(studies: Sequence[Study], name: str) -> str:
    parts = {
        "name": name,
        "algorithm": ALGORITHM,
        "studies": {
            study.name: [study.title, *(code_versions(study)[upstream] for upstream in UPSTREAM[name])]
            for study in studies
        },
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
