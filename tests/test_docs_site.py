"""docs/build_site.py: the site holds every page, as a reader sees it in a real Chromium, and asks no other host."""

import functools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page
from support.chromium import needs_chromium, open_chromium

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]
TEXT = """() => {
  const article = document.querySelector('article').cloneNode(true);
  article.querySelectorAll('pre, code').forEach((code) => code.remove());
  return article.textContent;
}"""
LINKS = "() => Array.from(document.querySelectorAll('article a[href], nav a[href]'), (a) => a.href)"
IDS = "() => Array.from(document.querySelectorAll('[id]'), (element) => element.id)"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, format: str, *args: object) -> None: ...


class Visit:
    """A browser in the site, with what goes wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url, self.faults = page, url, list[str]()
        page.on("request", lambda request: self._note(request.url, not request.url.startswith((url, "data:"))))
        page.on("response", lambda response: self._note(f"{response.status} {response.url}", response.status >= 400))
        page.on("console", lambda message: self._note(message.text, True))
        page.on("pageerror", lambda error: self._note(str(error), True))

    def _note(self, what: str, is_fault: bool) -> None:
        if is_fault:
            self.faults.append(what)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ROOT / "docs" / "build_site.py", out], check=True, cwd=out)
    return out


@pytest.fixture(scope="module")
def visit(site: Path) -> Iterator[Visit]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open_chromium() as browser:
        yield Visit(browser.new_page(), f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()


def test_every_page_is_shown_as_text_and_every_link_leads_somewhere(site: Path, visit: Visit) -> None:
    """One test for all pages, because a link may lead to an anchor of any of them."""
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")} - {"404.html"}
    assert {"index.html", "CHANGELOG.html", "docs/index.html", "training/records/index.html"} <= pages
    links, anchors = dict[str, set[str]](), set[str]()
    for name in pages:
        visit.page.goto(visit.url + name)
        assert visit.page.locator("article h1").count() == 1, name
        raw = re.search(r"\]\(|\*\*|^ *[-*] |\|-+\||^#+ |```", visit.page.evaluate(TEXT), re.MULTILINE)
        assert not raw, f"{name} shows Markdown as it is written: {raw}"
        found = visit.page.evaluate(LINKS)
        links[name] = {link.removeprefix(visit.url) for link in found if link.startswith(visit.url)}
        anchors |= {f"{name}#{each}" for each in visit.page.evaluate(IDS)}
        assert pages <= {target.partition("#")[0] for target in links[name]}, f"{name}: the navigation lacks a page"
    for name, targets in links.items():
        for target in targets:
            assert (site / target.partition("#")[0]).is_file(), f"{name}: {target}"
            assert "#" not in target or target.endswith("#") or target in anchors, f"{name}: {target}"
    assert visit.faults == []


def test_the_search_finds_a_page_without_another_host(visit: Visit) -> None:
    visit.page.goto(visit.url)
    visit.page.locator("input.md-search__input").click()
    visit.page.keyboard.type("ablations")
    visit.page.locator(".md-search-result__item a[href*='results.html']").first.wait_for()
    assert visit.faults == []


def test_a_page_opens_from_the_folder(site: Path, visit: Visit) -> None:
    visit.page.goto((site / "index.html").as_uri())
    visit.page.locator("nav a[href='docs/train.html']").first.click()
    assert visit.page.locator("article h1").inner_text().startswith("Train a net")
    assert [fault for fault in visit.faults if not fault.startswith(site.as_uri())] == []
