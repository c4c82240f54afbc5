"""/shadow in a real Chromium: it shows the numbers of /v1/shadow, asks no other server, and logs no error."""

import json
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sockets import serve_in_thread
from support.chromium import needs_chromium

from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.feedback_store import FeedbackStore
from tencrop.server.open_shadow import OpenShadow
from tencrop.server.settings import Settings

pytestmark = [needs_chromium, pytest.mark.slow]

ROOT = "/nets"


def test_the_page_shows_the_numbers(
    browser: Browser, classifier: Classifier, photographs: dict[str, Path], tmp_path: Path
) -> None:
    other = open_classifier(EMBEDDED, EngineOptions("cpu", "auto", "fp32"))
    shadow = OpenShadow("old", other, FeedbackStore(tmp_path / "feedback.sqlite"))
    app = create_app([classifier], Settings(feedback=True, root_path=ROOT), shadow=shadow)
    heard, asked = list[str](), list[tuple[str, int]]()
    with serve_in_thread(app) as (_, port):
        url = f"http://127.0.0.1:{port}{ROOT}"
        for path in photographs.values():
            urllib.request.urlopen(f"{url}/v1/predict", path.read_bytes(), timeout=60).close()
        page = browser.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("response", lambda reply: asked.append((reply.url, reply.status)))
        reply = page.goto(f"{url}/shadow")
        assert reply and "default-src 'self'" in reply.headers["content-security-policy"]
        rows = page.locator("#disagreement tr")
        while rows.filter(has_text="Compared answers").locator("td").inner_text() != "2":
            page.reload()
        with urllib.request.urlopen(f"{url}/v1/shadow") as answer:
            found = json.load(answer)
        low, high = found["interval"]
        expect(rows.locator("td")).to_have_text(["0.00%", f"{low:.2%} to {high:.2%}", "0", "2", "0", "0"])
        expect(page.locator("#right th")).to_have_text(["Both", "caltech101 alone", "old alone", "Neither"])
        expect(page.locator("#right td")).to_have_text(["0"] * 4)
        assert page.locator("h1").evaluate("heading => getComputedStyle(heading).fontSize") == "28px"  # of page.css
        page.close()
    assert heard == []
    assert {each for each in asked if each[1] != 200 or not each[0].startswith((f"{url}/", "data:"))} == set()
