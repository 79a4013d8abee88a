"""The report page: content, order, escaping, digits."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest
from PIL import Image

from memo_assets.figures.page import _untitled
from memo_assets.figures.report import ROWS_SHOWN, ReportContent, Summary, headline, report_html, tiles
from memo_assets.figures.report_tables import NONE, fixed, number, percent, picture, plain_table
from memo_assets_tests.figures.helpers import layout_of

SUMMARY = Summary(
    samples=12_345,
    models=48,
    train_accuracy=0.998,
    test_accuracy=0.7131,
    noisy_share=0.1,
    noisy_in_top=0.61,
    psmi_auc=0.9412,
    psmi_fpr_at_tpr=0.0731,
    prediction_epoch=0.4,
    last_epoch=20.0,
)
MINUS, SPACE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}"
EVIL = "<script>alert('sample')</script>"
CONTENT = ReportContent(
    title="Cities & <b>rivers</b>",
    description="First paragraph.\n\nSecond paragraph.",
    summary=SUMMARY,
    figures=[
        (
            "Curve one",
            "Up is good.",
            go.Figure(go.Scatter(y=[1, 2]), layout={"title": {"text": "Own title"}}),
        ),
        ("Curve two", "Down is good.", go.Figure()),
    ],
    training_facts=pd.DataFrame({"epoch": [0.0, 0.2, 1.0], "train_loss": [1.5, 0.12345, 0.00012345]}),
    evaluation=pd.DataFrame(
        {
            "predictor": ["loss", "psmi", "random"],
            "layer": pd.array([None, 2, None], dtype="Int64"),
            "auc": [0.9, 0.95, np.nan],
            "fpr_at_tpr": [0.083, 0.073, None],
            "tpr_at_fpr_01": [0.2, 0.3, 0.01],
        }
    ),
    at_risk=pd.DataFrame(
        {
            "sample_id": [7, 12],
            "text": [EVIL, "Oslo"],
            "given_label": ["Norway", "Chad"],
            "true_label": [None, "Norway"],
            "label_status": ["true", "random"],
            "psmi": [-0.5, -0.25],
            "log_lira": [12.345, np.nan],
        }
    ),
    settings="name: demo\nprompt: '<x>'",
    provenance={"torch": "2.13.0"},
    limits=["Only one attack is made."],
)


@pytest.fixture(scope="module")
def page():
    return report_html(CONTENT)


def body(page):
    return page.split("<body>")[1]


def rows(page, name):
    table = body(page).split(f'aria-label="{name}"')[1].split("</table>")[0]
    found = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)
        ]
        for row in found
    ]


def test_markup_in_content_is_shown_as_text(page):
    assert EVIL not in page
    assert "&lt;script&gt;alert(&#39;sample&#39;)&lt;/script&gt;" in page
    assert "Cities &amp; &lt;b&gt;rivers&lt;/b&gt;" in page
    assert "prompt: &#39;&lt;x&gt;&#39;" in page


def test_page_is_self_contained_and_reproducible(page):
    assert page.count("plotly.js v4") == 1 or page.count("plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", page)
    assert page == report_html(CONTENT)


def test_figures_stand_in_order_without_their_own_title(page):
    text = body(page)
    assert text.index("Curve one") < text.index("Curve two")
    assert 'id="figure-1"' in text
    assert 'id="figure-2"' in text
    assert "Up is good." in text
    assert "Own title" not in text
    assert layout_of(go.Figure(CONTENT.figures[0][2])).title.text == "Own title"


def test_figures_as_they_were_written_are_shown_as_those_that_were_made():
    for _, _, figure in CONTENT.figures:
        text = str(go.Figure(figure).to_json())
        shown = [
            plotly.io.to_json(_untitled(drawing), validate=False) for drawing in (figure, json.loads(text))
        ]
        assert json.loads(str(shown[0])) == json.loads(str(shown[1])) != json.loads(text)


def test_evaluation_is_sorted_and_aligned(page):
    assert rows(page, "Predictors") == [
        ["Predictor", "AUC", "FPR at TPR 0.75", "TPR at 1 % FPR"],
        ["PSMI, layer 2", "0.950", "0.073", "0.300"],
        ["Loss", "0.900", "0.083", "0.200"],
        ["Random", NONE, NONE, "0.010"],
    ]
    assert '<td class="number ">' in body(page)


def test_at_risk_rows(page):
    table = rows(page, "Samples most at risk")
    assert table[0] == ["Sample", "Text", "Given label", "True label", "Status", "PSMI", "log-LiRA"]
    assert table[2] == ["12", "Oslo", "Chad", "Norway", "noisy", f"{MINUS}0.250", NONE]
    assert table[1][3] == NONE


def test_training_table_has_one_form_a_column(page):
    assert rows(page, "Training") == [
        ["epoch", "train loss"],
        ["0.0", "1.50"],
        ["0.2", "0.123"],
        ["1.0", "0.000123"],
    ]


def test_long_tables_fold_their_tail():
    many = pd.concat([CONTENT.at_risk.tail(1)] * (ROWS_SHOWN + 4))
    page = report_html(dataclasses.replace(CONTENT, at_risk=many, figures=[]))
    assert "<summary>4 more</summary>" in page
    assert len(rows(page, "Samples most at risk, continued")) == 1 + 4


def test_empty_tables_say_so():
    empty = dataclasses.replace(
        CONTENT,
        figures=[],
        training_facts=pd.DataFrame(),
        evaluation=pd.DataFrame(),
        at_risk=pd.DataFrame(),
        limits=[],
    )
    text = body(report_html(empty))
    for sentence in (
        "There are no figures",
        "No predictor has been",
        "No sample has been",
        "Nothing has been",
        "No limits",
    ):
        assert sentence in text


def test_wrong_tables_are_named():
    with pytest.raises(ValueError, match="evaluation lacks the columns auc"):
        report_html(dataclasses.replace(CONTENT, evaluation=CONTENT.evaluation.drop(columns="auc")))
    with pytest.raises(ValueError, match="at_risk lacks the columns psmi"):
        report_html(dataclasses.replace(CONTENT, at_risk=CONTENT.at_risk.drop(columns="psmi")))


def test_images_are_shown_inline():
    shown = CONTENT.at_risk.drop(columns="text").assign(image=pd.Series([np.eye(8), np.ones((8, 8))]))
    page = report_html(dataclasses.replace(CONTENT, at_risk=shown, figures=[]))
    assert page.count('<img src="data:image/png;base64,') == 2
    assert 'alt="sample 12"' in page


def test_picture_is_a_png_with_dark_ink():
    data = base64.b64decode(picture(np.array([[0, 16], [8, 4]])).split(",")[1])
    shown = Image.open(io.BytesIO(data))
    assert (shown.format, shown.mode) == ("PNG", "L")
    assert np.asarray(shown).tolist() == [[255, 0], [128, 191]]
    assert picture(np.zeros((2, 2)))
    for shape in ((64,), (2, 4, 4), (3, 0, 4)):
        with pytest.raises(ValueError, match=rf"this one has shape {re.escape(str(shape))}"):
            picture(np.zeros(shape))


def test_picture_in_colour_or_grey_is_shown_as_it_is():
    colour = np.array([[[1, 0]], [[0, 0.2]], [[0.4, 1]]])  # red, green, blue of one row of two pixels
    shown = Image.open(io.BytesIO(base64.b64decode(picture(colour).split(",")[1])))
    assert (shown.mode, shown.size) == ("RGB", (2, 1))
    assert np.asarray(shown).tolist() == [[[255, 0, 102], [0, 51, 255]]]
    shown = Image.open(io.BytesIO(base64.b64decode(picture(np.array([[[0.2, 0]]])).split(",")[1])))
    assert (shown.mode, np.asarray(shown).tolist()) == ("L", [[51, 0]])


def test_headline():
    assert headline(SUMMARY).startswith("At epoch 0.4 of 20, PSMI ranks")
    assert (
        "AUC of 0.941: to find 75\N{NARROW NO-BREAK SPACE}% of them, 7.3\N{NARROW NO-BREAK SPACE}% of"
        in headline(SUMMARY)
    )
    assert "there is no prediction epoch" in headline(dataclasses.replace(SUMMARY, prediction_epoch=None))
    assert "unknown without shadow models" in headline(dataclasses.replace(SUMMARY, psmi_auc=None))


def test_tiles():
    shown = {tile.name: tile.value.replace("\N{NARROW NO-BREAK SPACE}", " ") for tile in tiles(SUMMARY)}
    assert shown == {
        "Training samples": "12 345",
        "Models": "48",
        "Train accuracy": "99.8 %",
        "Test accuracy": "71.3 %",
        "Prediction epoch": "0.4",
        "AUC of PSMI": "0.941",
        "FPR at TPR 0.75": "7.3 %",
        "Noisy labels in the top 10\N{NARROW NO-BREAK SPACE}%": "61.0 %",
    }
    unknown = tiles(dataclasses.replace(SUMMARY, noisy_share=0.0, noisy_in_top=None, prediction_epoch=None))
    assert [tile.value for tile in unknown if tile.value == NONE] == [NONE, NONE]
    assert unknown[-1].hint == "no noisy labels in this study"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NONE),
        (np.nan, NONE),
        (pd.NA, NONE),
        (np.inf, "∞"),
        (-np.inf, f"{MINUS}∞"),
        (0, "0"),
        (1234567, "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (-0.12345, f"{MINUS}0.123"),
        (12.345, "12.3"),
        (12345.6, "12\N{NARROW NO-BREAK SPACE}346"),
        (0.00001234, f"1.23e{MINUS}05"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_fixed_and_percent():
    assert [fixed(-0.5), fixed(None), fixed(2, 1)] == [f"{MINUS}0.500", NONE, "2.0"]
    assert [percent(0.0731), percent(None), percent(0.75, 0)] == [
        "7.3\N{NARROW NO-BREAK SPACE}%",
        NONE,
        "75\N{NARROW NO-BREAK SPACE}%",
    ]


def test_plain_table_knows_numbers_from_words():
    table = plain_table(pd.DataFrame({"n_steps": [1, 20], "passed": [True, False], "note": ["a", None]}))
    assert [(column.heading, column.is_number) for column in table.columns] == [
        ("n steps", True),
        ("passed", False),
        ("note", False),
    ]
    assert [[cell.text for cell in row] for row in table.rows] == [["1", "True", "a"], ["20", "False", NONE]]
