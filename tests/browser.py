"""A headless Chromium for tests of pages. Without one they are skipped; with MLBENCH_REQUIRE_BROWSER=1 they
fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, closed at the end."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("MLBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail("no Chromium on this machine, and MLBENCH_REQUIRE_BROWSER is 1")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=_ARGUMENTS.split())
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A page in a browser, with what it prints and asks for. scheme: of the colours."""

    def __init__(self, browser: Any, path: Path, *, scheme: str = "light", width: int = 1280) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("console", lambda line: self.problems.append(f"{line.type}: {line.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.resolve().as_uri())
        self.page.evaluate("window.pageDrawn")

    def texts(self, selector: str) -> list[str]:
        """Texts of the elements that are shown."""
        found: list[str] = self.page.locator(f"{selector}:visible").all_inner_texts()
        return found

    def foreign_requests(self) -> list[str]:
        """Addresses other than that of files and of data."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]
