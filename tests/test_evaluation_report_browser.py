"""report.html in a real Chromium without a network: it sorts, runs no foreign script, fits any screen, can be read."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from support.chromium import needs_chromium
from support.synthetic_validation import HOSTILE, make_hostile, make_validation

from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.suspects import find_suspects

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]


@pytest.fixture
def photograph(photographs: dict[str, Path]) -> bytes:
    return photographs["flower"].read_bytes()


def open_page(browser: Browser, path: Path, *, width: int = 1200, scripts: bool = True) -> tuple[Page, list[str]]:
    """Open the page without a network; also the list of its requests, console messages and errors."""
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts, offline=True)
    page, events = context.new_page(), list[str]()
    page.on("request", lambda request: None if request.url.startswith("data:") else events.append(request.url))
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.goto(path.as_uri())
    return page, events


def column_texts(page: Page, number: int) -> list[str]:
    return page.locator(f".sortable tbody tr td:nth-child({number})").all_inner_texts()


def sort_state(page: Page) -> list[tuple[str, str | None]]:
    """The headers that carry aria-sort, with its value."""
    heads = page.locator(".sortable thead th")
    return [
        (heads.nth(i).inner_text(), heads.nth(i).get_attribute("aria-sort"))
        for i in range(5)
        if heads.nth(i).get_attribute("aria-sort")
    ]


def test_table_sorts_numbers_as_numbers_by_mouse_and_by_keyboard(
    photograph: bytes, browser: Browser, tmp_path: Path
) -> None:
    given = make_validation(photograph, 1500, 30, skill=0.8)
    file = tmp_path / "report.html"
    file.write_text(given.page(), encoding="utf-8")
    page, events = open_page(browser, file)
    images = list(Counter(row["label"] for row in given.rows()).values())
    assert sort_state(page) == [("top-1 error", "descending")] and min(images) < 100 < max(images)
    assert [float(cell.rstrip("%")) for cell in column_texts(page, 4)] == sorted(
        (float(c.rstrip("%")) for c in column_texts(page, 4)), reverse=True
    )

    page.get_by_role("button", name="images").click()
    assert sort_state(page) == [("images", "descending")]
    assert list(map(int, column_texts(page, 3))) == sorted(images, reverse=True)
    page.get_by_role("button", name="images").click()
    assert sort_state(page) == [("images", "ascending")] and list(map(int, column_texts(page, 3))) == sorted(images)

    page.keyboard.press("Tab")  # from "images" to "top-1 error"
    page.keyboard.press("Enter")
    assert sort_state(page) == [("top-1 error", "descending")]
    page.keyboard.press("Space")
    assert sort_state(page) == [("top-1 error", "ascending")]
    errors = [float(cell.rstrip("%")) for cell in column_texts(page, 4)]
    assert errors == sorted(errors) and errors[-1] == 100 and 0 < errors[0] < 10

    page.get_by_role("button", name="class").press("Enter")
    assert sort_state(page) == [("class", "ascending")] and column_texts(page, 1) == sorted(column_texts(page, 1))
    assert events == [file.as_uri()]


def test_hostile_text_is_shown_and_never_runs_or_fetches(photograph: bytes, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(make_hostile(photograph).page(), encoding="utf-8")
    page, events = open_page(browser, file)
    assert page.evaluate("typeof hacked") == "undefined" and page.locator("script").count() == 1
    assert page.title() == f"{HOSTILE} on {HOSTILE}"
    assert {
        cell.rstrip("0123456789") for cell in page.locator(".sortable tbody td:nth-child(1)").all_text_contents()
    } == {HOSTILE}
    assert page.locator(".sortable button").count() == 5
    assert events == [file.as_uri()]


@pytest.mark.parametrize("width", [320, 1200])
def test_page_never_scrolls_sideways(photograph: bytes, browser: Browser, tmp_path: Path, width: int) -> None:
    for name, given in (("plain", make_validation(photograph, 200, 12)), ("hostile", make_hostile(photograph))):
        file = tmp_path / f"{name}.html"
        file.write_text(given.page(), encoding="utf-8")
        page, _ = open_page(browser, file, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_table_is_sorted_and_has_no_button(
    photograph: bytes, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(make_validation(photograph, 200, 12).page(), encoding="utf-8")
    page, events = open_page(browser, file, scripts=False)
    assert page.locator(".sortable tbody tr").count() == 11 and page.locator("button").count() == 0
    assert not page.get_by_text("A heading sorts").is_visible() and sort_state(page) == [("top-1 error", "descending")]
    assert page.locator("img").first.is_visible() and events == [file.as_uri()]


def test_screen_readers_are_given_headings_tables_and_pictures_with_names(
    photograph: bytes, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(make_validation(photograph, 200, 12).page(), encoding="utf-8")
    page, _ = open_page(browser, file)
    levels = page.evaluate("Array.from(document.querySelectorAll('h1,h2,h3,h4'), (h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.evaluate("Array.from(document.images).every((image) => image.alt)")
    assert page.evaluate("Array.from(document.querySelectorAll('th')).every((head) => head.scope)")
    assert page.evaluate("Array.from(document.querySelectorAll('nav a')).every((a) => document.querySelector(a.hash))")
    assert page.get_by_role("region", name="Classes").count() == 1 and page.get_by_role("main").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(photograph: bytes, browser: Browser, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(make_validation(photograph, 200, 12).page(), encoding="utf-8")
    page, _ = open_page(browser, file)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    css = page.evaluate(
        "Object.fromEntries(['ink','soft','paper','card','guess','true','bar'].map("
        "(name) => [name, getComputedStyle(document.documentElement).getPropertyValue('--' + name)]))"
    )
    for text, grounds in (
        ("ink", ("paper", "card", "guess", "true")),
        ("soft", ("paper", "card")),
        ("bar", ("paper",)),
    ):
        for ground in grounds:
            assert contrast(css[text], css[ground]) >= 4.5  # WCAG 2, AA


def test_charts_and_cards_are_shown_and_say_what_they_are(photograph: bytes, browser: Browser, tmp_path: Path) -> None:
    given = make_validation(photograph, 600, 12)
    file = tmp_path / "report.html"
    file.write_text(given.page(), encoding="utf-8")
    page, events = open_page(browser, file)
    charts = page.locator(".charts svg")
    assert [chart.get_attribute("aria-label") for chart in charts.all()] == [
        "Reliability, center crop",
        "Reliability, ten views",
        "Error against coverage",
        "Error by agreement",
    ]
    bars = charts.last.locator(".bar")
    rows = [row for row in given.summary.agreement if row.images]
    assert [bar.text_content() for bar in bars.locator("title").all()] == [
        f"{row.views} of 10 views: {row.wrong} of {row.images} wrong" for row in rows
    ]
    heights = [box["height"] for bar in bars.locator("rect").all() if (box := bar.bounding_box()) and box["height"]]
    errors = [row.wrong / row.images for row in rows if row.wrong]
    np.testing.assert_allclose(np.array(heights) / max(heights), np.array(errors) / max(errors), atol=0.02)
    assert charts.nth(2).locator("polyline").count() == 3 and charts.nth(2).get_by_text("by both").count() == 2

    predictions, names = Predictions.from_table(given.table), given.data.labels
    for section, row in (
        ("mistakes", predictions.find_surest_mistakes(1)[0]),
        ("suspects", find_suspects(predictions, 1)[0].row),
    ):
        card = page.locator(f"#{section} figure").first
        assert card.locator("h3").inner_text() == names[int(predictions.labels[row])].name
        assert card.get_by_text(f"{predictions.agreement[row]} of 10 views agree").is_visible()
    looks_like = names[find_suspects(predictions, 1)[0].looks_like].name
    assert page.locator("#suspects figure").first.get_by_text(f"looks like {looks_like}").is_visible()
    assert page.locator("#suspects").get_by_text("A suspicion").is_visible()
    assert events == [file.as_uri()]


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour.strip().lstrip("#")
        digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
        ]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
