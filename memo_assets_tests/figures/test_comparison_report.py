"""The page of the comparison: measured and published values in cells of their own."""

import re

import pandas as pd
import plotly.graph_objects as go
import pytest

from memo_assets.figures.comparison_report import ComparisonContent, comparison_html
from memo_assets.figures.report_tables import NONE

NAN = float("nan")
CONTENT = ComparisonContent(
    missing=["mmlu_llama"],
    fprs=pd.DataFrame(
        [("ARC <b>", "psmi", 0.14), ("ARC <b>", "loss", 0.16), ("Own", "psmi", 0.2), ("Own", "loss", NAN)],
        columns=["study", "predictor", "fpr"],
    ),
    mean_fprs=pd.DataFrame({"predictor": ["psmi", "loss"], "mean": [0.17, NAN], "published": [0.073, 0.083]}),
    rules=pd.DataFrame(
        {
            "study": ["ARC <b>", "Own"],
            "epoch": [0.4, 1.0],
            "fpr": [0.1, 0.2],
            "tpr": [0.8, 0.9],
            "published_epoch": [0.4, NAN],
            "published_fpr": [0.139, NAN],
            "published_tpr": [0.86, NAN],
        }
    ),
    layers=pd.DataFrame(
        {
            "study": ["ARC <b>", "Own"],
            "layers": [32, 2],
            "best_layer": [28, 1],
            "fpr": [0.12, 0.19],
            "published_best_layer": [29, NAN],
        }
    ),
    figures=[("ROC", "Up is good.", go.Figure())],
    tpr=0.75,
    source="the paper",
)


def _cells(page: str, section: str) -> list[list[str]]:
    body = page[page.index(f'<section id="{section}">') :].split("<tbody>", 2)[1].split("</tbody>", 1)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL) for row in rows]


def test_measured_and_published_values_stand_in_cells_of_their_own():
    page = comparison_html(CONTENT)
    assert _cells(page, "predictors") == [
        ["ARC &lt;b&gt;", "0.140", "0.160"],
        ["Own", "0.200", NONE],
        ["Mean", "0.170", NONE],
        ["Mean, published (five language studies)", "0.073", "0.083"],
    ]
    assert _cells(page, "default-rule") == [
        ["ARC &lt;b&gt;", "0.4", "0.100", "0.800", "0.4", "0.139", "0.860"],
        ["Own", "1", "0.200", "0.900", NONE, NONE, NONE],
    ]
    assert _cells(page, "layers") == [
        ["ARC &lt;b&gt;", "32", "28", "0.120", "29"],
        ["Own", "2", "1", "0.190", NONE],
    ]
    assert "2 of 3 studies have been evaluated" in page
    assert "Not there yet: mmlu_llama." in page
    assert "from the paper, not measured here" in page


def test_without_studies_the_page_says_so():
    empty = {name: getattr(CONTENT, name).head(0) for name in ("fprs", "mean_fprs", "rules", "layers")}
    page = comparison_html(ComparisonContent(["a"], **empty, figures=[], tpr=0.75, source="the paper"))
    assert "0 of 1 studies" in page
    assert page.count("No study has been evaluated") == 3


def test_a_table_without_a_column_is_named():
    with pytest.raises(ValueError, match="layers lacks the columns best_layer"):
        comparison_html(
            ComparisonContent(
                [],
                CONTENT.fprs,
                CONTENT.mean_fprs,
                CONTENT.rules,
                CONTENT.layers.drop(columns="best_layer"),
                [],
                0.75,
                "",
            )
        )
