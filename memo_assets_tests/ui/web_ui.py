"""`memo ui` over a small study of the user's own, and a browser that looks at it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Page, expect, sync_playwright

from memo_assets.figures.render import find_browser
from memo_assets_tests.studies import DIGITS, changed, write_study

NAME = "corner"
SECONDS = 120  # for whatever the machine does in between
# A root user's browser has no sandbox; nothing but the page is asked for.
_BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


class WebUi:
    """A study file, a warehouse, and the web UI over both.

    Args:
        folder: where all of it goes.
        screenshots: where pictures of the pages are kept.
    """

    def __init__(self, folder: Path, screenshots: Path) -> None:
        self.folder = folder
        self.screenshots = screenshots
        self.file = write_study(
            folder / "studies" / NAME,
            changed(DIGITS, {"name": NAME, "title": "A corner of the digits", "show_text": True}),
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,
            "MEMO_STUDIES": str(folder / "studies"),
            "MEMO_WAREHOUSE": str(folder / "warehouse"),
            "DAGSTER_HOME": str(folder / "warehouse" / "dagster_home"),
            "PYTHONWARNINGS": "ignore",
        }

    def memo(self, *arguments: str) -> None:
        """Run a command of `memo` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "memo_assets.cli", *arguments],
            check=False,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def change(self, **fields: Any) -> None:
        """Other values in the study file, by dotted field."""
        attributes = yaml.safe_load(self.file.read_text())["attributes"]
        write_study(
            self.file.parent,
            changed(attributes, {key.replace("__", "."): value for key, value in fields.items()}),
        )

    @contextmanager
    def served(self) -> Iterator[None]:
        """`memo ui`, as long as the block lasts."""
        log = self.folder / "ui.log"
        port = self.url.rpartition(":")[2]
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "memo_assets.cli", "ui", "--port", port],
                env=self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(lambda: process.poll() is not None or answers(self.url))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """A page of a new browser; errors in its scripts fail the test."""
        errors: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=_BROWSER_FLAGS)
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(SECONDS * 1000)
            expect.set_options(timeout=SECONDS * 1000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
            browser.close()
        assert errors == []

    def open(self, page: Page, path: str) -> None:
        """Go to a page of the UI."""
        page.goto(self.url + path)

    def keep(self, page: Page, name: str) -> None:
        """Keep a picture of what the page shows once it has asked for everything."""
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1000)
        self.screenshots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self.screenshots / f"{name}.png")


def answers(url: str) -> bool:
    """Whether a web server answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask until it is so.

    Raises:
        AssertionError: it takes too long.
    """
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.3)
