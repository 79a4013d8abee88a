"""`make ui` in a copy of the project, and a browser that looks at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Page, expect, sync_playwright

from memo_assets.config import Study
from memo_assets.figures.render import find_browser
from memo_assets.store.layout import project_root
from memo_assets_tests.studies import changed, write_study

SECONDS = 120  # for whatever the machine does in between
# A root user's browser has no sandbox; nothing but the page is asked for.
_BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
# A copy has its warehouse and its own studies beside it, as a checkout has.
_ELSEWHERE = ("MEMO_WAREHOUSE", "MEMO_STUDIES", "DAGSTER_HOME", "BROWSER_PATH")


class WebUi:
    """A copy of the project with a warehouse that is made already, and the web UI over both.

    Args:
        folder: where all of it goes.
        screenshots: where pictures of the pages are kept.
        warehouse: what is in the warehouse, records and all.
        studies: settings that take the place of those of the studies of the same names.
    """

    def __init__(self, folder: Path, screenshots: Path, warehouse: Path, studies: Iterable[Study]) -> None:
        self.project = folder / "project"
        self.screenshots = screenshots
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(project_root() / "memo_assets", self.project / "memo_assets", ignore=without)
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "workspace.yaml"):
            shutil.copy2(project_root() / name, self.project)
        shutil.copytree(warehouse, self.project / "warehouse")
        for study in studies:
            write_study(self._folder(study.name), study.model_dump(mode="json"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def change(self, name: str, changes: dict[str, Any]) -> None:
        """Other values in a study file, by dotted field."""
        file = self._folder(name) / "defs.yaml"
        attributes = yaml.safe_load(file.read_text(encoding="utf-8"))["attributes"]
        write_study(file.parent, changed(attributes, changes))

    def _folder(self, study: str) -> Path:
        return self.project / "memo_assets" / "studies" / study

    @contextmanager
    def served(self) -> Iterator[None]:
        """`make ui`, as long as the block lasts, with what is installed already."""
        log = self.project / "ui.log"
        installed = Path(sys.prefix)
        command = ["make", f"VENV={installed}", f"PORT={self._port}", "-o", f"{installed}/.ready", "ui"]
        environment = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
        environment |= {"PYTHONPATH": str(self.project), "PYTHONWARNINGS": "ignore"}
        with log.open("w") as stream:
            process = subprocess.Popen(
                command,
                cwd=self.project,
                env=environment,
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
