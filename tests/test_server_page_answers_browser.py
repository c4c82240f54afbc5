"""The page in a real Chromium: examples, several images, what the net knows, and requests to copy that work.

The server asks for a key, shows itself below a sub-path, and makes no validations.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect
from sockets import serve_in_thread
from support.chromium import needs_chromium
from support.page import give, open_page

from tencrop.common.errors import WorkFailed
from tencrop.runtime.classifier import Classifier
from tencrop.server import engines as engines_file
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

pytestmark = [
    needs_chromium,
    pytest.mark.slow,
]

ROOT = "/nets/tencrop"
KEY = generate_key()
EXAMPLES = ["sunflower", "stop_sign", "pyramid", "starfish"]  # in their order on the page
DROP = """(files) => {
  const carried = new DataTransfer();
  for (const [name, data] of files) {
    carried.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type: "image/jpeg" }));
  }
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def url(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that asks for a key, below a sub-path."""
    keys = tmp_path_factory.mktemp("page") / "keys"
    keys.write_text(f"anna {hash_key(KEY)}\n")
    with serve_in_thread(create_app([classifier], Settings(root_path=ROOT, api_key_file=keys))) as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def china(photographs: dict[str, Path]) -> bytes:
    return photographs["china"].read_bytes()


@contextmanager
def enter(browser: Browser, url: str, *refused: str, **options: Any) -> Iterator[Page]:
    """Open the page and give it the key, for which each request asks until it is there."""
    with open_page(browser, url, "401", *refused, path=ROOT, **options) as page:
        page.get_by_label("The server asks for a key").fill(KEY)
        page.keyboard.press("Enter")
        yield page


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    page.evaluate(DROP, [[name, base64.b64encode(data).decode()] for name, data in files])


def test_one_click_on_an_example_shows_its_right_answer(browser: Browser, url: str) -> None:
    with enter(browser, url) as page:
        buttons = page.locator("#examples button")
        for name, button in zip(EXAMPLES, buttons.all(), strict=True):
            button.click()
            expect(page.locator("article h2")).to_have_text(f"{name}.jpg")
            expect(page.locator(".labels li").first).to_contain_text(name.replace("_", " "))
            expect(page.locator(".agreement")).to_have_text(f"All 10 views say {name.replace('_', ' ')} by themselves.")
            expect(page.locator("article h2")).to_be_in_viewport()  # the page scrolls to the answer


def test_examples_of_classes_that_the_net_does_not_know_are_hidden(browser: Browser, url: str) -> None:
    with open_page(browser, url, "401", path=ROOT) as page:
        labels = [{"index": 0, "id": "pyramid", "label": "pyramid"}, {"index": 1, "id": "n1", "label": "ant"}]
        page.route("**/v1/models/*", lambda route: route.fulfill(json={"labels": labels, "errors": None}))
        page.reload()
        expect(page.locator("#examples li:visible")).to_have_count(1)
        expect(page.get_by_role("button", name="pyramid")).to_be_visible()
        expect(page.locator("#knows")).to_contain_text("knows 2 classes")
        expect(page.locator("#knows")).to_contain_text("How often it is wrong is not known")


def test_several_dropped_images_are_answered_in_their_order(browser: Browser, url: str, china: bytes) -> None:
    files = [("one.jpg", china), ("half.jpg", china[:9000]), ("two.jpg", china)]
    with enter(browser, url, "400") as page:
        drop(page, *files)
        articles = page.locator("article")
        expect(articles.locator("h2")).to_have_text([name for name, _ in files])
        for i, whole in enumerate((True, False, True)):
            expect(articles.nth(i).locator(".labels li")).to_have_count(5 if whole else 0)
            expect(articles.nth(i).locator(".failed")).to_contain_text("" if whole else "Damaged image")
        drop(page, ("three.jpg", china))
        expect(articles.locator("h2")).to_have_text(["three.jpg"])


def test_more_images_than_the_page_holds_are_counted(browser: Browser, url: str) -> None:
    with enter(browser, url, "415") as page:
        drop(page, *((f"{i}.jpg", b"no image") for i in range(30)))
        expect(page.locator("#failed")).to_have_text("The page answers 24 images at a time, the first of these 30.")
        expect(page.locator("article")).to_have_count(24)


def test_page_says_what_the_net_knows_and_how_often_it_is_wrong(browser: Browser, url: str) -> None:
    errors = {
        "dataset": "photos",
        "n": 1234,
        "ten_crop": {"top1_error": 0.2341, "top5_error": 0.1},
        "mean_over_classes": {"ten_crop": {"top1_error": 0.3703, "top5_error": 0.2}},
    }
    with enter(browser, url) as page:
        page.locator("#classes summary").click()
        classes = page.locator("#classes li:visible")
        expect(classes).to_have_count(101)
        width = "list => list.scrollWidth - list.clientWidth"
        assert page.locator("#classes ul").evaluate(width) == 0, "classes lie beside the page, where nobody looks"
        page.get_by_label("Search").fill("CROCO")
        expect(classes).to_have_text(["crocodile", "crocodile head"])
        expect(page.locator("#matches")).to_have_text("2 of 101")
        headers = {"Authorization": f"Bearer {KEY}"}
        known = page.request.get(f"{url}{ROOT}/v1/models/caltech101", headers=headers).json()["errors"]
        wrong = round(100 * known["mean_over_classes"]["ten_crop"]["top1_error"])
        expect(page.locator("#knows")).to_contain_text(f"on {wrong} of 100 where classes count alike.")
        page.route("**/v1/models/*", lambda route: route.fulfill(json={**route.fetch().json(), "errors": errors}))
        page.reload()
        expect(page.locator("#knows")).to_have_text(
            "caltech101 knows 101 classes, and names one of them whatever an image shows. Of the 1,234 test images of "
            "photos it is wrong on 23 of 100, on 37 of 100 where classes count alike."
        )


@pytest.mark.parametrize("example", [True, False], ids=["an example", "a file"])
def test_copied_requests_give_the_answer_that_the_page_shows(
    example: bool, browser: Browser, url: str, china: bytes, tmp_path: Path
) -> None:
    with enter(browser, url, permissions=["clipboard-read", "clipboard-write"]) as page:
        if example:
            page.locator("#examples button").first.click()
        else:
            (tmp_path / 'Anna\'s "photo".jpg').write_bytes(china)
            give(page, tmp_path / 'Anna\'s "photo".jpg')
        expect(page.locator(".labels li")).to_have_count(5)
        copied = {}
        for form, name in (("curl", "Copy as curl"), ("python", "Copy as Python"), ("json", "Copy as JSON")):
            page.get_by_role("button", name=name).click()
            expect(page.locator(".copied")).to_contain_text("Copied.")
            copied[form] = page.evaluate("navigator.clipboard.readText()")
            assert page.locator(".copy").text_content() == copied[form] == page.evaluate("`${getSelection()}`")
    assert KEY not in str(copied)
    answer = json.loads(copied["json"])
    run: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "KEY": KEY}, "capture_output": True, "check": True}
    assert json.loads(subprocess.run(["sh", "-ec", copied["curl"]], **run).stdout)["top"] == answer["top"]
    printed = subprocess.run([sys.executable, "-c", copied["python"]], **run, text=True).stdout.splitlines()
    assert [line.rpartition(" ")[0] for line in printed] == [guess["label"] for guess in answer["top"]]
    assert [float(line.rpartition(" ")[2]) for line in printed] == [guess["probability"] for guess in answer["top"]]


def test_text_to_copy_is_selected_where_the_browser_refuses_to_copy(browser: Browser, url: str) -> None:
    with enter(browser, url) as page:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as without HTTPS
        page.locator("#examples button").first.click()
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator(".copied")).to_contain_text("Selected: press Ctrl+C.")
        assert page.evaluate("`${getSelection()}`").startswith("curl ")


def test_no_request_of_the_page_is_answered_with_an_error(browser: Browser, url: str) -> None:
    with enter(browser, url) as page:
        failed = list[tuple[int, str]]()
        page.on("response", lambda reply: failed.append((reply.status, reply.url)) if reply.status >= 400 else None)
        page.reload()
        expect(page.locator("#classes")).to_be_visible()
        page.locator("#examples button").first.click()
        expect(page.locator(".labels li")).to_have_count(5)
        expect(page.locator("#off")).to_contain_text("start the server with --data-root")
        expect(page.get_by_role("button", name="Start")).to_be_hidden()
        for link in page.locator("footer a").all():
            assert page.request.get(f"{url}{link.get_attribute('href')}").ok
    assert failed == []


def test_page_says_which_package_validations_lack(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(extra: str) -> None:
        raise WorkFailed(f"<{extra}> is not installed")

    monkeypatch.setattr(engines_file, "require", lack)
    settings = Settings(data_root=tmp_path, state_dir=tmp_path / "state")
    with TestClient(create_app([classifier], settings)) as client:
        assert '<p id="off">Off: &lt;evaluate&gt; is not installed</p>' in client.get("/").text
