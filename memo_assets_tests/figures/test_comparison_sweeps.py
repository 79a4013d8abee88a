"""Figure over swept values: panels, axes, lines, the study itself, and what is missing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from memo_assets.figures.comparison_sweeps import over_swept_values
from memo_assets_tests.figures.helpers import layout_of, notes, traces

MEASURES = {"epoch": 1.0, "psmi": 0.1, "loss": 0.2, "logit_gap": 0.3, "test_accuracy": 0.9}


def rows(values: list[Any], *, study: str = "A", field: str = "lora.rank", line: str = "[]") -> pd.DataFrame:
    """The study itself at the first value, a variant at each of the others; PSMI is 0.1, 0.2 and so on."""
    table = pd.DataFrame(
        [
            {
                "study": study,
                "field": field,
                "name": f"a{place}",
                "itself": place == 0,
                "line": line,
                **MEASURES,
            }
            for place in range(len(values))
        ]
    )
    return table.assign(value=pd.Series(values, dtype=object), psmi=0.1 * (table.index + 1))


def drawn(points: pd.DataFrame, missing: tuple[str, ...] = ()) -> Any:
    return over_swept_values(points, title="T", missing=missing, tpr=0.75)


def test_points_are_joined_by_value_and_the_study_itself_is_marked():
    figure = drawn(rows([8, 2, 16]), ("a_rank4",))
    psmi, _, _, accuracy, *legend = traces(figure)
    np.testing.assert_array_equal(psmi.x, [2, 8, 16])
    np.testing.assert_allclose(psmi.y, [0.2, 0.1, 0.3])
    assert list(psmi.marker.symbol) == ["circle", "diamond", "circle"]
    assert list(accuracy.y) == [0.9] * 3
    assert (psmi.yaxis, accuracy.yaxis) == ("y", "y2")
    assert [entry.name for entry in legend] == ["PSMI", "Loss", "Logit gap", "the study itself"]
    assert "not there yet: a_rank4" in layout_of(figure).title.subtitle.text
    assert layout_of(figure).xaxis2.title.text == "lora.rank"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([8, 2, 16], "linear"),
        ([8, 2, 20], "log"),
        ([1e-4, 1e-3], "log"),
        ([0.0, 0.01, 0.1], "linear"),  # 0 has no place on a log axis
        (["constant", "linear"], "category"),
        ([500, "auto"], "category"),
        ([True, False], "category"),
        ([None, 64], "category"),
        ([["q", "v"], ["q"]], "category"),
    ],
)
def test_the_axis_suits_the_values(values: list[Any], kind: str):
    layout = layout_of(drawn(rows(values)))
    assert layout.xaxis.type == layout.xaxis2.type == kind
    if kind == "category":
        assert list(layout.xaxis2.categoryarray) == list(map(str, values))
    if kind == "linear":
        low, high = layout.xaxis2.range
        assert low < min(values)
        assert high > max(values)


def test_long_texts_are_cut_on_the_axis_and_stay_apart():
    values = ["x" * 30 + end for end in "ab"]
    axis = layout_of(drawn(rows(values))).xaxis2
    assert list(axis.categoryarray) == values
    assert {len(text) for text in axis.ticktext} == {24}


def test_a_column_a_field_and_two_rows_a_study():
    parts = [
        rows([8, 2]),
        rows([0.1, 0.2], field="noise.share"),
        rows([1, 2], study="B", field="model.width"),
    ]
    figure = drawn(pd.concat(parts, ignore_index=True))
    panels = {(trace.xaxis, trace.yaxis) for trace in traces(figure) if trace.x[0] is not None}
    assert len(panels) == 6
    assert {"A", "B"} <= set(notes(figure).split())
    layout = layout_of(figure)
    titles = [layout[f"xaxis{place}"].title.text for place in (3, 4, 6)]
    assert titles == ["lora.rank", "noise.share", "model.width"]


def test_lines_are_those_named():
    parts = [rows([8, 2]), rows([8, 2], line="[1]")]
    shown = traces(drawn(pd.concat(parts, ignore_index=True)))
    assert sum(len(trace.x) == 2 for trace in shown) == 2 * 4


def test_without_a_sweep_the_figure_says_what_one_is():
    empty = rows([1]).head(0)
    text = notes(drawn(empty)).replace("<br>", " ")
    assert "A sweep in a study file makes variants of a study" in text
    assert "no variant has been evaluated yet" in text
    assert "Not there" not in text
    assert "Not there: a_rank4" in notes(drawn(empty, ("a_rank4",))).replace("<br>", " ")
    with pytest.raises(ValueError, match="points lacks the columns test_accuracy"):
        drawn(empty.drop(columns="test_accuracy"))
