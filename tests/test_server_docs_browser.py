"""/docs in a real Chromium: it shows every operation, sends what its user tries, and asks no other server."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect
from sockets import serve_in_thread
from support.chromium import needs_chromium, open_chromium

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

pytestmark = [
    needs_chromium,
    pytest.mark.slow,
]

HOST = "nets.test"  # Swagger UI behaves otherwise on localhost
KEY = generate_key()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module", params=["", "/nets/tencrop"], ids=["at the root", "below a sub-path"])
def url(
    request: pytest.FixtureRequest, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server that asks for a key."""
    keys = tmp_path_factory.mktemp("docs") / "keys"
    keys.write_text(f"anna {hash_key(KEY)}\n")
    app = create_app([classifier], Settings(root_path=request.param, api_key_file=keys))
    with serve_in_thread(app) as (_, port):
        yield f"http://{HOST}:{port}{request.param}"


@contextmanager
def open_docs(browser: Browser, url: str) -> Iterator[Page]:
    """Open /docs, and close it at the end.

    Every request must have gone to the server and be answered 200, and nothing may be in the console.
    """
    heard, asked = list[str](), list[tuple[str, int]]()
    page = browser.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("requestfailed", lambda request: heard.append(f"{request.url}: {request.failure}"))
    page.on("response", lambda reply: asked.append((reply.url, reply.status)))
    reply = page.goto(f"{url}/docs")
    assert reply and "script-src 'self' 'sha256-" in reply.headers["content-security-policy"]
    yield page
    page.close()
    assert heard == []
    assert [each for each in asked if not each[0].startswith((f"{url}/", "data:")) or each[1] != 200] == []


def read_operations(url: str) -> list[str]:
    """Method and path of every operation of the OpenAPI document, in alphabetic order."""
    local = url.replace(HOST, "127.0.0.1")
    with urllib.request.urlopen(f"{local}/openapi.json") as reply:
        paths = json.load(reply)["paths"]
    return sorted(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)


def test_every_operation_is_shown(browser: Browser, url: str) -> None:
    operations = read_operations(url)
    assert len(operations) > 20
    with open_docs(browser, url) as page:
        blocks = page.locator(".opblock")
        expect(blocks).to_have_count(len(operations))
        shown = [
            f"{block.locator('.opblock-summary-method').inner_text()} "
            f"{block.locator('.opblock-summary-path').get_attribute('data-path')}"
            for block in blocks.all()
        ]
        assert sorted(shown) == operations
        expect(page.locator(".errors-wrapper")).to_have_count(0)


def test_a_user_with_a_key_can_try_an_operation(browser: Browser, url: str) -> None:
    with open_docs(browser, url) as page:
        page.get_by_role("button", name="Authorize").click()
        page.get_by_label("auth-bearer-value").fill(KEY)
        page.get_by_role("button", name="Apply credentials").first.click()
        page.get_by_role("button", name="Close").first.click()
        block = page.locator("#operations-models-get_model")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_placeholder("name").fill("caltech101")
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table .response")
        expect(answer.locator(".response-col_status")).to_have_text("200")
        expect(answer.locator(".highlight-code")).to_contain_text('"name": "caltech101"')
        expect(block.locator(".request-url")).to_contain_text(f"{url}/v1/models/caltech101")
