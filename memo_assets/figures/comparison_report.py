"""The page of the comparison: what was measured study by study, and what was published beside it.

What belongs here: what the page says, and its tables. What does not: the page's frame (`page`), the figures
(`comparison`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from memo_assets.figures.epoch_axis import epoch_text
from memo_assets.figures.frames import require_columns
from memo_assets.figures.page import page_html
from memo_assets.figures.render import Drawing
from memo_assets.figures.report_tables import NONE, Cell, Column, Table, fixed, number
from memo_assets.figures.theme import predictor_label


@dataclass(frozen=True)
class ComparisonContent:
    """All that the page shows. Strings are plain text.

    Attributes:
        missing: Names of the studies that are not there yet.
        fprs: One row a study and predictor: study, predictor, fpr (nan where it has none).
        mean_fprs: One row a predictor: predictor, mean (nan from fewer than two studies), published (nan if unknown).
        rules: One row a study: study, epoch, fpr, tpr, published_epoch, published_fpr, published_tpr.
        layers: One row a study: study, layers, best_layer, fpr, published_best_layer.
        figures: (title, one sentence on how to read it, figure), in order.
        tpr: The TPR objective.
        source: Where the published values stand.
    """

    missing: Sequence[str]
    fprs: pd.DataFrame
    mean_fprs: pd.DataFrame
    rules: pd.DataFrame
    layers: pd.DataFrame
    figures: Sequence[tuple[str, str, Drawing]]
    tpr: float
    source: str


@dataclass(frozen=True)
class _Section:
    anchor: str
    heading: str
    text: str
    table: Table | None


def comparison_html(content: ComparisonContent) -> str:
    """The page; the same content gives the same text.

    Raises:
        ValueError: A table lacks a column; the sentence names table and column.
    """
    there = content.rules["study"].nunique()
    total = there + len(content.missing)
    published = f"Columns headed \N{LEFT DOUBLE QUOTATION MARK}published\N{RIGHT DOUBLE QUOTATION MARK} are from {content.source}, not measured here."
    sections = [
        _Section(
            "predictors",
            f"FPR at TPR {content.tpr:g}",
            "Share of the other samples flagged when this share of the memorized ones is found, by the last layer at "
            f"each study's prediction epoch; lower is better. {published}",
            _fpr_table(content.fprs, content.mean_fprs),
        ),
        _Section(
            "default-rule",
            "The rule PSMI < 0",
            f"It needs no tuning: a sample is at risk if PSMI in the last layer is negative. {published}",
            _rule_table(content.rules),
        ),
        _Section(
            "layers",
            "Best layers",
            f"The layer whose PSMI has the lowest FPR at TPR {content.tpr:g}, found by looking at the labels: an upper "
            f"bound, for the last layer needs no choice. {published}",
            _layer_table(content.layers),
        ),
    ]
    return page_html(
        "comparison.html.j2",
        figures=content.figures,
        kind="Comparison of studies",
        title="Studies beside one another",
        headline=f"{there} of {total} studies have been evaluated.",
        missing=list(content.missing),
        tables=sections,
        limits=[
            "Published values are of the paper's data and models at full size. Beside a study of another size or kind "
            "they say what to expect, not what is right.",
            "Means are over the studies that are there, each counted once, and only where all of them have a value.",
        ],
    )


def _fpr_table(fprs: pd.DataFrame, means: pd.DataFrame) -> Table | None:
    require_columns(fprs, ["study", "predictor", "fpr"], "fprs")
    require_columns(means, ["predictor", "mean", "published"], "mean_fprs")
    if fprs.empty:
        return None
    order = list(dict.fromkeys(fprs["predictor"]))
    wide = fprs.pivot_table(
        index="study", columns="predictor", values="fpr", sort=False, dropna=False
    ).reindex(columns=order)
    by_predictor = means.set_index("predictor").reindex(order)
    rows = [
        [Cell(str(study)), *(Cell(fixed(value)) for value in values)] for study, *values in wide.itertuples()
    ]
    rows.append([Cell("Mean"), *(Cell(fixed(value)) for value in by_predictor["mean"])])
    rows.append(
        [
            Cell("Mean, published (five language studies)"),
            *(Cell(fixed(v)) for v in by_predictor["published"]),
        ]
    )
    return Table([Column("Study"), *(Column(predictor_label(name), True) for name in order)], rows)


def _rule_table(rules: pd.DataFrame) -> Table | None:
    names = ["epoch", "fpr", "tpr"]
    names += [f"published_{name}" for name in names]
    require_columns(rules, ["study", *names], "rules")
    if rules.empty:
        return None
    headings = ["Prediction epoch", "FPR", "TPR"]
    headings += [f"{heading}, published" for heading in headings]
    rows = [
        [
            Cell(str(row["study"])),
            *(Cell(_epoch(row[name]) if name.endswith("epoch") else fixed(row[name])) for name in names),
        ]
        for row in rules.to_dict("records")
    ]
    return Table([Column("Study"), *(Column(heading, True) for heading in headings)], rows)


def _layer_table(layers: pd.DataFrame) -> Table | None:
    require_columns(layers, ["study", "layers", "best_layer", "fpr", "published_best_layer"], "layers")
    if layers.empty:
        return None
    columns = [
        Column("Study"),
        Column("Layers", True),
        Column("Best layer", True),
        Column("Its FPR", True),
        Column("Best layer, published", True),
    ]
    rows = [
        [
            Cell(str(row["study"])),
            Cell(number(row["layers"])),
            Cell(number(row["best_layer"])),
            Cell(fixed(row["fpr"])),
            Cell(number(row["published_best_layer"])),
        ]
        for row in layers.to_dict("records")
    ]
    return Table(columns, rows)


def _epoch(epoch: float) -> str:
    return NONE if pd.isna(epoch) else epoch_text(epoch)
