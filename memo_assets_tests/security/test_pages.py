"""Texts, labels and titles are shown by every page and figure as they are, in a real browser: markup is not obeyed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, sync_playwright

from memo_assets.figures.comparison import default_rule_over_studies, predictors_over_studies, roc_grid
from memo_assets.figures.comparison_report import ComparisonContent, comparison_html
from memo_assets.figures.comparison_sweeps import over_swept_values
from memo_assets.figures.render import figure_html, find_browser
from memo_assets.figures.report import ReportContent, Summary, report_html
from memo_assets.figures.theme import message_figure, style
from memo_assets_tests.command_line import memo
from memo_assets_tests.studies import DIGITS, changed, write_study

OUTSIDE = "http://127.0.0.1:9/"
EVIL = (
    "<script>document.title='pwned'</script></script><img src=x onerror=\"document.title='pwned'\"> "
    f"<b>bold</b> <a href='{OUTSIDE}'>link</a> <!-- {{{{ 7 * 7 }}}} %{{x}} &lt; {{% raw %}}"
)
SHORT = "<b>b</b> <a href='javascript:0'>%{x}</a>"  # what fits on an axis
RULES = {"epoch": 1.0, "fpr": 0.1, "tpr": 0.8}
RULES |= {f"published_{name}": value for name, value in RULES.items()}


def points(title: str) -> pd.DataFrame:
    return pd.DataFrame({"study": [title] * 2, "predictor": ["psmi", "loss"], "fpr": [0.1, 0.3]})


def drawn_figures(title: str) -> dict[str, Any]:
    """Every way in which a title, a name or a value of a user's comes into a figure."""
    rules = pd.DataFrame([{"study": title, **RULES}])
    curves = pd.DataFrame(
        {
            "study": [title] * 2,
            "epoch": [1.0] * 2,
            "predictor": ["psmi"] * 2,
            "fpr": [0.0, 1.0],
            "tpr": [0.0, 1.0],
        }
    )
    measures = {"epoch": 1.0, "psmi": 0.1, "loss": 0.2, "logit_gap": 0.3, "test_accuracy": 0.9}
    swept = [
        {
            "study": title,
            "field": title,
            "value": value,
            "name": title,
            "itself": False,
            "line": "",
            **measures,
        }
        for value in (title, "other")
    ]
    line = predictors_over_studies(points("a"), title=title, missing=[title], tpr=0.75)
    return {
        "title and subtitle": line,
        "message": message_figure(title, title),
        "predictors": predictors_over_studies(points(title), title="T", missing=[], tpr=0.75),
        "rule": default_rule_over_studies(rules, title="T", missing=[]),
        "grid": roc_grid(curves, title="T", missing=[]),
        "sweep": over_swept_values(pd.DataFrame(swept), title="T", missing=[], tpr=0.75),
    }


def report() -> str:
    frame = pd.DataFrame({"epoch": [0.0], EVIL: [1.0]})
    evaluation = {
        "predictor": [EVIL],
        "layer": [1],
        "auc": [0.9],
        "fpr_at_tpr": [0.1],
        "tpr_at_fpr_01": [0.2],
    }
    risk = {name: [EVIL] for name in ("text", "given_label", "true_label", "label_status")}
    figure = style(drawn_figures(EVIL)["predictors"], EVIL)
    return report_html(
        ReportContent(
            title=EVIL,
            description=EVIL,
            summary=Summary(10, 4, 0.9, 0.8, 0.1, 0.5, 0.9, 0.1, 1.0, 2.0),
            figures=[(EVIL, EVIL, figure)],
            training_facts=frame,
            evaluation=pd.DataFrame(evaluation),
            at_risk=pd.DataFrame({"sample_id": [1], **risk, "psmi": [-0.5], "log_lira": [1.0]}),
            settings=EVIL,
            provenance={EVIL: EVIL},
            limits=[EVIL],
        )
    )


def comparison() -> str:
    layers = {"study": EVIL, "layers": 2, "best_layer": 1, "fpr": 0.1, "published_best_layer": 2}
    return comparison_html(
        ComparisonContent(
            missing=[EVIL],
            fprs=points(EVIL),
            mean_fprs=pd.DataFrame(
                {"predictor": ["psmi", "loss"], "mean": [0.1] * 2, "published": [0.1] * 2}
            ),
            rules=pd.DataFrame([{"study": EVIL, **RULES}]),
            layers=pd.DataFrame([layers]),
            figures=[(EVIL, EVIL, figure) for figure in drawn_figures(EVIL).values()],
            tpr=0.75,
            source=EVIL,
        )
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def shown(browser: Browser, folder: Path, html: str) -> dict[str, Any]:
    """What a browser makes of a page: its texts, each once, and what none of ours may bring."""
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector(".main-svg")
    for point in page.query_selector_all(".scatterlayer .point")[:4]:  # what appears beside the pointer, too
        box = point.bounding_box()
        if box is not None:
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.wait_for_timeout(150)
    found = page.evaluate(
        """() => ({
            title: document.title,
            text: document.body.textContent,
            figures: [...document.querySelectorAll("svg text")].map(node => node.textContent),
            hover: [...document.querySelectorAll(".hoverlayer text")].map(node => node.textContent),
            strange: [...document.querySelectorAll("img[src=x], body b, svg a, svg [style*=bold], a[href^='http']:not(nav a)")]
                .map(node => node.outerHTML),
        })"""
    )
    page.close()
    assert errors == []
    assert [url for url in asked if url != file.as_uri() and not url.startswith(("data:", "blob:"))] == []
    return found


@pytest.mark.parametrize("make", [report, comparison])
def test_pages_show_markup_as_text(browser: Browser, tmp_path: Path, make: Any) -> None:
    found = shown(browser, tmp_path, make())
    assert "pwned'</script>" not in found["title"].replace(EVIL, "")
    assert found["title"] != "pwned"
    assert found["strange"] == []
    assert found["text"].count(EVIL) > 5


@pytest.mark.parametrize("name", list(drawn_figures(SHORT)))
def test_figures_show_markup_as_text(browser: Browser, tmp_path: Path, name: str) -> None:
    for evil in (SHORT, EVIL):
        found = shown(browser, tmp_path, figure_html(drawn_figures(evil)[name]).decode())
        assert found["title"] == ""
        assert found["strange"] == []
        assert "7 * 7" in " ".join(found["figures"]) or evil == SHORT or name == "sweep"
        if evil == SHORT:
            assert any(SHORT in text for text in found["figures"])
        if name in ("predictors", "sweep"):
            assert any("<b>b" in text for text in found["hover"]) or evil == EVIL, found["hover"]


def test_the_command_line_shows_markup_as_text(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = "[red]a[/] [/nothing] [link=http://127.0.0.1:9]b"
    file = write_study(tmp_path / "own" / "tiny", changed(DIGITS, {"title": title}))
    monkeypatch.setenv("MEMO_STUDIES", str(tmp_path / "own"))
    assert title in memo("study", "list").stdout
    assert memo("study", "check", str(file)).exit_code == 0
    assert memo("status", "tiny").exit_code == 0
