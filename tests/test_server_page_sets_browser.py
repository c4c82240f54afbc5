"""The page in a real Chromium: a calibrated model's confidences and sets, and nothing of them for another model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sockets import serve_in_thread
from support.calibrated import CALIBRATION, TINY, write_calibrated
from support.chromium import needs_chromium
from support.page import ask, give, open_page, percent

from tencrop.model.calibration import Threshold
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

pytestmark = [
    needs_chromium,
    pytest.mark.slow,
]
NOTE = " On images like those that the model was calibrated on, such a set holds the right label in {} of cases."
SURE = replace(CALIBRATION, thresholds=(Threshold(0.8, 0.99),))  # a set holds the first label alone


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of `unsure` with sets for 0.9, of `sure` with sets for 0.8, and of `tiny`, which is not calibrated."""
    root, options = tmp_path_factory.mktemp("sets"), EngineOptions("cpu", "openvino", "fp32")
    folders = (write_calibrated(root / "unsure"), write_calibrated(root / "sure", SURE), TINY)
    models = [open_classifier(folder, options) for folder in folders]
    with serve_in_thread(create_app(models, Settings())) as (_, port):
        yield f"http://127.0.0.1:{port}"


def test_the_page_says_whether_an_answer_is_sure(browser: Browser, url: str, photographs: dict[str, Path]) -> None:
    answer = ask(url, photographs["china"].read_bytes(), "coverage=0.9")
    labels = [guess["label"] for guess in answer["set"]]
    assert len(labels) > 1
    with open_page(browser, url) as page:
        give(page, photographs["china"])
        shown = page.locator("article .set")
        expect(shown).to_have_text(f"Unsure: one of these {len(labels)}: {', '.join(labels)}.{NOTE.format('90%')}")
        expect(page.locator(".labels .confidence")).to_have_text(
            [f"confidence {percent(guess['confidence'])}" for guess in answer["top"]]
        )
        page.get_by_label("Model").first.select_option("sure")  # asks again
        expect(shown).to_have_text(f"Sure: {labels[0]}.{NOTE.format('80%')}")
        page.get_by_label("Model").first.select_option("tiny")
        expect(shown).to_be_hidden()
        expect(page.locator(".labels li")).to_have_count(3)
        expect(page.locator(".labels .confidence")).to_have_count(0)
