"""Opens Debian's Chromium by Playwright; no browser is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium: apt-get install chromium")


@contextmanager
def open_chromium(*arguments: str) -> Iterator[Browser]:
    """Run Chromium without a sandbox, which root cannot have, and with more arguments."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments]) as browser,
    ):
        expect.set_options(timeout=20_000)
        yield browser
