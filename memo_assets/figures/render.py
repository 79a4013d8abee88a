"""From a figure to HTML and PNG.

PNGs are drawn by a Chromium or Chrome of this machine through kaleido; nothing is ever downloaded.
"""

import asyncio
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import plotly.graph_objects as go

PNG_WIDTH, PNG_HEIGHT, PNG_SCALE = 1000, 600, 2
SECONDS_PER_FIGURE = 90
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
_ADVICE = "Install Chromium or Chrome, or set BROWSER_PATH to one; HTML figures need none."
# plotly.js 4 offers by default to upload a chart to its maker's cloud: not with results about private data.
_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d"],
}


class BrowserMissing(RuntimeError):  # noqa: N818 (the sentence that users read ends in "missing")
    """No browser that could draw a PNG was found, or the one found does not start."""


def figure_html(figure: go.Figure) -> str:
    """A complete page with the figure and plotly.js in it, about 5 MB, that works offline."""
    return figure.to_html(
        config=_CONFIG, include_plotlyjs=True, include_mathjax=False, div_id="figure", default_height="100vh"
    )


def figure_div(figure: go.Figure, div_id: str | None = None) -> str:
    """The figure as a fragment of a page that already has plotly.js.

    Args:
        figure: The figure; its own height is kept, its width follows the page.
        div_id: Id of the element, unique in its page; by default made from the figure's content, so that the same
            figure gives the same text.
    """
    if div_id is None:
        div_id = "figure-" + hashlib.sha256(str(figure.to_json()).encode()).hexdigest()[:16]
    return figure.to_html(
        config=_CONFIG,
        full_html=False,
        include_plotlyjs=False,
        div_id=div_id,
        default_height=f"{PNG_HEIGHT}px",
    )


def png_bytes(figures: list[go.Figure]) -> list[bytes]:
    """The figures as PNG, 1000 pixels wide and 600 (or the figure's own height) high, at twice the resolution.

    One browser is started for all of them. Safe inside a running event loop.

    Raises:
        BrowserMissing: No browser was found, or it does not start.
    """
    if not figures:
        return []
    path = find_browser()
    # kaleido is a coroutine; in a thread of its own it neither needs nor meets the caller's event loop.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, _draw(figures, path)).result()


def find_browser() -> str:
    """The browser that BROWSER_PATH names, else the first known one on PATH."""
    given = os.environ.get("BROWSER_PATH")
    if given:
        if not Path(given).is_file():
            raise BrowserMissing(f"BROWSER_PATH is {given}, which is no file. {_ADVICE}")
        return given
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise BrowserMissing(
            f"PNG figures need a browser, and none of {', '.join(_BROWSERS)} is on PATH. {_ADVICE}"
        )
    return found


async def _draw(figures: list[go.Figure], browser: str) -> list[bytes]:
    from kaleido import Kaleido
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

    try:
        # mathjax would be fetched from the network; the sandbox is off because Chromium refuses it to root.
        async with Kaleido(
            path=browser, mathjax=False, enable_sandbox=False, timeout=SECONDS_PER_FIGURE
        ) as kaleido:
            return [
                await kaleido.calc_fig(
                    figure,
                    opts={
                        "format": "png",
                        "width": PNG_WIDTH,
                        "height": cast("Any", figure.layout).height or PNG_HEIGHT,
                        "scale": PNG_SCALE,
                    },
                )
                for figure in figures
            ]
    except (BrowserClosedError, BrowserFailedError, ChromeNotFoundError) as error:
        raise BrowserMissing(f"The browser {browser} does not start or closed at once. {_ADVICE}") from error
