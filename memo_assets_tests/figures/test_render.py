"""HTML and PNG of a figure, with the browser of this machine if there is one."""

import asyncio
import contextlib
import inspect
import shutil
import struct
import threading

import plotly.graph_objects as go
import pytest
from kaleido import Kaleido

from memo_assets.figures import render

SMALL = go.Figure(
    go.Scatter(x=[1, 2], y=[3, 4]), layout={"title": {"text": "</script><script>alert(1)</script>"}}
)
HAS_BROWSER = any(map(shutil.which, render._BROWSERS))


def test_html_stands_alone_and_offline():
    page = render.figure_html(SMALL).decode()
    assert "<html>" in page[:100]
    assert "plotly.js v" in page
    assert '<script src="' not in page
    assert page.encode() == render.figure_html(SMALL)


def test_div_brings_no_plotly_and_lets_no_markup_out():
    fragment = render.figure_div(SMALL)
    assert len(fragment) < 20_000
    assert "<script>alert" not in fragment
    assert "<html" not in fragment
    assert fragment == render.figure_div(SMALL)
    assert 'id="mine"' in render.figure_div(SMALL, "mine")


def test_nothing_offers_an_upload():
    assert '"showSendToCloud": false' in render.figure_div(SMALL)
    assert '"showSendToCloud": false' in render.figure_html(SMALL).decode()


def test_png_or_a_clear_error():
    figures = [SMALL, go.Figure(layout={"height": 720})]
    if not HAS_BROWSER:
        with pytest.raises(render.BrowserMissing, match="none of chromium"):
            render.png_bytes(figures)
        return
    images = render.png_bytes(figures)
    assert [image[:8] for image in images] == [b"\x89PNG\r\n\x1a\n"] * 2
    assert [struct.unpack(">II", image[16:24]) for image in images] == [(2000, 1200), (2000, 1440)]


@pytest.mark.skipif(not HAS_BROWSER, reason="no browser")
def test_a_picture_is_the_same_whatever_was_drawn_before_it():
    large = go.Figure(go.Bar(x=["a", "b"], y=[2, 1]), layout={"height": 720, "title": {"text": "large"}})
    _, after = render.png_bytes([large, SMALL])
    (alone,) = render.png_bytes([SMALL])
    assert after == alone


def test_kaleido_has_the_method_by_which_the_page_stays_loaded():
    assert inspect.iscoroutinefunction(Kaleido._return_kaleido_tab)


def test_the_page_is_that_of_plotly_with_its_script_in_it():
    options = {
        "include_plotlyjs": True,
        "include_mathjax": False,
        "div_id": "figure",
        "default_height": "100vh",
    }
    plotlys = SMALL.to_html(config=render._CONFIG, **options)
    assert render.figure_html(SMALL).decode().split() == plotlys.split()


def test_the_dict_of_a_figure_stands_for_it():
    assert render.figure_html(SMALL.to_dict()) == render.figure_html(SMALL)
    if HAS_BROWSER:
        high = go.Figure(SMALL).update_layout(height=720)
        with render.Pictures() as pictures:
            asked = [pictures.png(drawing) for drawing in (high, high.to_dict(), SMALL, SMALL.to_dict())]
            first, second, third, fourth = [png.result() for png in asked]
        assert (first, third) == (second, fourth)


def test_png_inside_a_running_event_loop(monkeypatch):
    @contextlib.asynccontextmanager
    async def started(browser):
        yield browser.encode()

    async def drawn(kaleido, figure):
        return kaleido

    async def caller():
        return render.png_bytes([SMALL])

    monkeypatch.setattr(render, "_started", started)
    monkeypatch.setattr(render, "_drawn", drawn)
    monkeypatch.setattr(render, "find_browser", lambda: "mine")
    assert asyncio.run(caller()) == [b"mine"]


def test_pictures_are_drawn_while_figures_are_made(monkeypatch):
    asked = threading.Event()

    @contextlib.asynccontextmanager
    async def started(browser):
        yield browser

    async def drawn(kaleido, figure):
        asked.set()
        return figure.layout.title.text.encode()

    monkeypatch.setattr(render, "_started", started)
    monkeypatch.setattr(render, "_drawn", drawn)
    monkeypatch.setattr(render, "find_browser", lambda: "mine")
    with render.Pictures() as pictures:
        first = pictures.png(go.Figure(layout={"title": {"text": "one"}}))
        assert asked.wait(10)
        second = pictures.png(go.Figure(layout={"title": {"text": "two"}}))
        assert (first.result(10), second.result(10)) == (b"one", b"two")


def test_a_browser_that_closes_in_the_middle_is_told_by_every_later_picture(monkeypatch):
    @contextlib.asynccontextmanager
    async def started(browser):
        yield browser

    async def drawn(kaleido, figure):
        if figure.layout.height:
            raise render.BrowserMissing("closed")
        return b"png"

    monkeypatch.setattr(render, "_started", started)
    monkeypatch.setattr(render, "_drawn", drawn)
    monkeypatch.setattr(render, "find_browser", lambda: "mine")
    monkeypatch.setattr(render, "_TABS", 1)  # the later picture still waits when the browser closes
    with render.Pictures() as pictures:
        sound, broken, later = (
            pictures.png(figure) for figure in (SMALL, go.Figure(layout={"height": 77}), SMALL)
        )
        assert sound.result(10) == b"png"
        for picture in (broken, later):
            with pytest.raises(render.BrowserMissing, match="closed"):
                picture.result(10)


@pytest.mark.parametrize("tabs", [1, 2])
def test_pictures_that_nobody_waits_for_are_not_drawn(monkeypatch, tabs: int):
    begun, go_on, drawn_figures = threading.Event(), threading.Event(), []
    monkeypatch.setattr(render, "_TABS", tabs)

    @contextlib.asynccontextmanager
    async def started(browser):
        yield browser

    async def drawn(kaleido, figure):
        drawn_figures.append(figure)
        if len(drawn_figures) == tabs:
            begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return b"png"

    def asking():
        with render.Pictures() as pictures:
            for _ in range(5):
                pictures.png(SMALL)
            assert begun.wait(10)
            threading.Timer(0.3, go_on.set).start()
            raise OSError("disk full")

    monkeypatch.setattr(render, "_started", started)
    monkeypatch.setattr(render, "_drawn", drawn)
    monkeypatch.setattr(render, "find_browser", lambda: "mine")
    with pytest.raises(OSError, match="disk full"):
        asking()
    assert len(drawn_figures) == tabs


def test_no_figures_need_no_browser(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert render.png_bytes([]) == []


def test_browser_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(render.BrowserMissing, match=r"none of chromium.* is on PATH. Install Chromium"):
        render.png_bytes([SMALL])


def test_browser_path_that_is_no_file(monkeypatch, tmp_path):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "chrome"))
    with pytest.raises(render.BrowserMissing, match=r"BROWSER_PATH is .*chrome, which is no file"):
        render.png_bytes([SMALL])


def test_browser_path_comes_before_path(monkeypatch, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("")
    monkeypatch.setenv("BROWSER_PATH", str(mine))
    assert render.find_browser() == str(mine)


def test_browser_that_does_not_start(monkeypatch, tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(render.BrowserMissing, match="does not start or closed at once"):
        render.png_bytes([SMALL])
