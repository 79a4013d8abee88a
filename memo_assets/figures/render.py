"""From a figure to HTML and PNG.

PNGs are drawn by a Chromium or Chrome of this machine through kaleido; nothing is ever downloaded.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import plotly.graph_objects as go
import plotly.io

if TYPE_CHECKING:
    from kaleido import Kaleido

PNG_WIDTH, PNG_HEIGHT, PNG_SCALE = 1000, 600, 2
SECONDS_PER_FIGURE = 90
_JS = "plotly.min.js"
_TABS = 2  # figures drawn at once
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

Drawing = go.Figure | dict[str, Any]
"""A figure, or what its `to_dict` gave: whoever makes several things of a figure asks for that once."""


class BrowserMissing(RuntimeError):  # noqa: N818 (the sentence that users read ends in "missing")
    """No browser that could draw a PNG was found, or the one found does not start."""


def as_dict(figure: Drawing) -> dict[str, Any]:
    """The dict of a figure, which may be that already."""
    return figure if isinstance(figure, dict) else figure.to_dict()


def figure_html(figure: Drawing) -> bytes:
    """A complete page in UTF-8 with the figure and plotly.js in it, about 5 MB, that works offline."""
    # Put in afterwards: plotly formats and copies its 5 MB several times, and to encode them takes as long as to write them.
    page = plotly.io.to_html(
        figure,
        config=_CONFIG,
        include_plotlyjs=_JS,  # pyright: ignore[reportArgumentType]
        include_mathjax=False,
        div_id="figure",
        default_height="100vh",
        validate=False,
    )
    before, after = page.split(f'<script charset="utf-8" src="{_JS}"></script>')
    return b"".join((before.encode(), b"<script>", _plotly_js(), b"</script>", after.encode()))


@cache
def _plotly_js() -> bytes:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().encode()


def figure_div(figure: Drawing, div_id: str | None = None) -> str:
    """The figure as a fragment of a page that already has plotly.js.

    Args:
        figure: The figure; its own height is kept, its width follows the page.
        div_id: Id of the element, unique in its page; by default made from the figure's content, so that the same
            figure gives the same text.
    """
    if div_id is None:
        text = str(plotly.io.to_json(figure, validate=False))
        div_id = "figure-" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return plotly.io.to_html(
        figure,
        config=_CONFIG,
        full_html=False,
        include_plotlyjs=False,
        div_id=div_id,
        default_height=f"{PNG_HEIGHT}px",
        validate=False,
    )


def png_bytes(figures: list[go.Figure]) -> list[bytes]:
    """The figures as PNG, by one browser; see `Pictures`.

    Raises:
        BrowserMissing: No browser was found, or it does not start.
    """
    if not figures:
        return []
    with Pictures() as pictures:
        return [png.result() for png in [pictures.png(figure) for figure in figures]]


class Pictures:
    """Draws figures as PNG in the background: a context in which one browser runs, from its `start` or the first figure.

    PNGs are 1000 pixels wide and 600 (or the figure's own height) high, at twice the resolution. Safe inside a running
    event loop. A browser that is not found or does not start is told by the futures, as BrowserMissing.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[Drawing, Future[bytes]] | None] = SimpleQueue()
        # kaleido is a coroutine; in a thread of its own it neither needs nor meets the caller's event loop.
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._served: Future[None] | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        while kind is not None and not self._requests.empty():
            unanswered = self._requests.get()
            if unanswered:
                unanswered[1].cancel()
        self._requests.put(None)
        self._thread.shutdown()
        if self._served:
            self._served.result()

    def start(self) -> None:
        """Start the browser ahead of the first figure, if it is not started yet, without waiting for it."""
        if self._served is None:
            self._served = self._thread.submit(lambda: asyncio.run(self._serve()))

    def png(self, figure: Drawing) -> Future[bytes]:
        """The figure as PNG, once it is drawn; figures are begun in the order in which they are asked for, if not cancelled."""
        self.start()
        future: Future[bytes] = Future()
        self._requests.put((figure, future))
        return future

    async def _serve(self) -> None:
        """Draw until None is asked for, in all tabs; after a failure of the browser, answer everything with it."""
        try:
            async with _started(find_browser()) as kaleido:
                await asyncio.gather(*(self._draw(kaleido) for _ in range(_TABS)))
        except BaseException as error:  # noqa: BLE001 - whoever waits for a picture is told
            self._failure = error
            await self._draw(None)

    async def _draw(self, kaleido: "Kaleido | None") -> None:
        while request := await asyncio.to_thread(self._requests.get):
            figure, future = request
            if not future.set_running_or_notify_cancel():
                continue
            if kaleido is not None and self._failure is None:
                try:
                    future.set_result(await _drawn(kaleido, figure))
                    continue
                except BaseException as error:  # noqa: BLE001 - as above
                    self._failure = error
            future.set_exception(self._failure)
        self._requests.put(None)  # for the next tab


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


@asynccontextmanager
async def _started(browser: str) -> AsyncIterator["Kaleido"]:
    from kaleido import Kaleido

    class OnePage(Kaleido):
        """Loads a tab's page with plotly.js once, not anew after each figure: that takes as long as the drawing.

        A figure leaves nothing behind in the page. Should the method that is overridden go away, the page is loaded anew.
        """

        async def _return_kaleido_tab(self, tab: Any) -> None:
            await self.tabs_ready.put(tab)

    # mathjax would be fetched from the network; the sandbox is off because Chromium refuses it to root.
    options: dict[str, Any] = {"mathjax": False, "enable_sandbox": False, "timeout": SECONDS_PER_FIGURE}
    with _explained(browser):
        async with OnePage(path=browser, n=_TABS, **options) as kaleido:
            yield kaleido


async def _drawn(kaleido: "Kaleido", figure: Drawing) -> bytes:
    height = as_dict(figure)["layout"].get("height") or PNG_HEIGHT
    with _explained():
        return await kaleido.calc_fig(
            figure, opts={"format": "png", "width": PNG_WIDTH, "height": height, "scale": PNG_SCALE}
        )


@contextmanager
def _explained(browser: str = "") -> Iterator[None]:
    """Turn the errors of a browser that is not there into one that says what to do."""
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

    try:
        yield
    except (BrowserClosedError, BrowserFailedError, ChromeNotFoundError) as error:
        raise BrowserMissing(
            f"{browser or 'The browser'} does not start or closed at once. {_ADVICE}"
        ) from error
