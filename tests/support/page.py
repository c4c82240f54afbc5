"""Opens the server's page in a browser, gives it images, and compares what it shows with the answers of the API."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

NOISE = "Failed to load resource"  # Chromium logs it for every error reply


@contextmanager
def open_page(browser: Browser, url: str, *refused: str, path: str = "", **options: Any) -> Iterator[Page]:
    """Open the page, and close it at the end.

    The page must have asked no other server, and have logged no errors but those of replies with these statuses.
    """
    elsewhere, heard = list[str](), list[str]()

    def guard(route: Route) -> None:
        if route.request.url.startswith((f"{url}/", "blob:")):
            route.fallback()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
    context.route("**/*", guard)
    page = context.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    reply = page.goto(url + path)
    assert reply and "default-src 'self'" in reply.headers["content-security-policy"]
    expect(page.locator("#engine")).to_contain_text("run by openvino on cpu in fp32")
    yield page
    context.close()
    assert elsewhere == []
    assert [text for text in heard if not (NOISE in text and any(status in text for status in refused))] == []


def ask(url: str, image: bytes, *parameters: str) -> dict[str, Any]:
    """The answer of the API."""
    query = "&".join(("views=true", *parameters))
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/predict?{query}", image, {"Content-Type": "image/any"})
    ) as reply:
        return dict(json.load(reply))


def percent(probability: float) -> str:
    return f"{100 * probability:.1f}%"


def name_confidence(guess: dict[str, Any]) -> str:
    """What stands behind a label's probability, where the model is calibrated."""
    return f" confidence {percent(guess['confidence'])}" if "confidence" in guess else ""


def assert_shows(page: Page, answer: dict[str, Any]) -> None:
    """The page shows five labels, ten views, and how many of the views agree with the mean."""
    mean, views = answer["top"][0], answer["views"]
    expect(page.locator(".labels li")).to_have_text(
        [f"{guess['label']} {percent(guess['probability'])}{name_confidence(guess)}" for guess in answer["top"]]
    )
    agree = sum(view["index"] == mean["index"] for view in views)
    shown = [
        (view["label"], percent(view["probability"]) + (" ✓" if view["index"] == mean["index"] else ""))
        for view in views
    ]
    tiles = page.locator(".views button")
    expect(tiles.locator("b")).to_have_text([label for label, _ in shown])
    expect(tiles.locator(".share")).to_have_text([share for _, share in shown])
    assert 1 < agree < len(views)  # otherwise the page has another sentence
    others = Counter(view["label"] for view in views if view["index"] != mean["index"])
    expect(page.locator(".agreement")).to_contain_text(
        f"{agree} of 10 views say {mean['label']} by themselves; the others say "
    )
    for label, times in others.items():
        expect(page.locator(".agreement")).to_contain_text(f"{label} ({times})" if times > 1 else label)
    expect(page.locator("#state")).to_contain_text(f"{mean['label']}, {percent(mean['probability'])}.")


def give(page: Page, image: Path | tuple[str, bytes]) -> None:
    """Pick an image in the page."""
    file: Any = image if isinstance(image, Path) else {"name": image[0], "mimeType": "", "buffer": image[1]}
    page.locator("#file").set_input_files(file)
