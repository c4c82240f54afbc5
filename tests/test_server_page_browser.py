"""The page in a real Chromium against a real server: the page shows what the API answers, whatever its user does."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect
from serving import read_address, run_server
from support.chromium import needs_chromium
from support.crops import write_crops
from support.page import ask, assert_shows, give, open_page
from test_evaluation_report_browser import contrast

from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.model.embedded import EMBEDDED

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]

IMAGES = 24  # of the data set, in chunks of 4
MAX_BODY = 2_000_000  # bytes
KEY = "a-key"

# `tencrop ARGUMENTS` with small chunks; while the file HOLD is there, the third one of a job waits.
CHILD = """
import sys, time
from pathlib import Path
import tencrop.evaluation.part_file as part_file
import tencrop.evaluation.plan as plan
from tencrop import cli

plan.CHUNK = 4
write = part_file.write_records

def held(path, table):
    while path.name >= "0000002" and Path(HOLD).exists():
        time.sleep(0.01)
    write(path, table)

part_file.write_records = held
sys.argv[0] = "tencrop"
cli.main()
"""


@pytest.fixture(scope="module")
def folder(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data/photos` with crops of the photographs, `second.onnx` (the embedded model), and later the server's state."""
    folder = tmp_path_factory.mktemp("page")
    write_crops(folder / "data" / "photos", photographs, IMAGES, broken=None)
    (folder / "data" / "photos" / "README").touch()
    (folder / "second.onnx").symlink_to(EMBEDDED / "tencrop.onnx")
    return folder


@pytest.fixture(scope="module")
def hold(folder: Path) -> Path:
    return folder / "hold"


@pytest.fixture(scope="module")
def url(folder: Path, hold: Path) -> Iterator[str]:
    """The address of a server with two models and a data root."""
    child = CHILD.replace("HOLD", repr(str(hold)))
    models = [str(EMBEDDED / "tencrop.onnx"), str(folder / "second.onnx")]
    kept = ["--data-root", str(folder / "data"), "--state-dir", str(folder / "state")]
    command = [sys.executable, "-c", child, "serve", *models, "--port", "0", "--precision", "fp32", *kept]
    limits = {**os.environ, "TENCROP_MAX_BODY_BYTES": str(MAX_BODY)}
    log = folder / "log"
    with (
        log.open("w") as sink,
        subprocess.Popen(command, cwd=ROOT, env=limits, stderr=subprocess.PIPE, text=True, stdout=sink) as process,
    ):
        try:
            yield read_address(process)
        finally:
            process.kill()


@pytest.fixture
def china(photographs: dict[str, Path]) -> Path:
    return photographs["china"]


def read_pixels(canvas: Locator) -> np.ndarray:
    """The pixels of a canvas, uint8 [H,W,3]."""
    data = canvas.evaluate("(canvas) => canvas.toDataURL()").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB"))


def test_picked_photograph_gets_the_labels_and_views_of_the_api(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Pick images").click()
        chooser.value.set_files(china)
        assert_shows(page, ask(url, china.read_bytes()))
        expect(page.locator(".facts")).to_contain_text("JPEG, 640 \N{MULTIPLICATION SIGN} 427 pixels.")
        expect(page.locator(".unshown")).to_be_empty()


def test_each_tile_is_the_crop_that_the_net_sees(browser: Browser, url: str, china: Path) -> None:
    contract = Contract()
    pixels, _ = decode(china.read_bytes(), contract)
    crops = []
    for top, left, mirrored in contract.views:
        crop = pixels[top : top + contract.crop, left : left + contract.crop]
        crops.append(crop[:, ::-1] if mirrored else crop)
    with open_page(browser, url) as page:
        give(page, china)
        expect(page.locator(".views canvas")).to_have_count(10)
        for i, canvas in enumerate(page.locator(".views canvas").all()):
            tile = np.asarray(Image.fromarray(read_pixels(canvas)).resize((contract.crop, contract.crop)), np.float32)
            distances = [float(np.abs(tile - crop).mean()) for crop in crops]
            assert int(np.argmin(distances)) == i and distances[i] < 6


def test_box_of_a_view_is_shown_while_it_is_pointed_at_or_focused(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url) as page:
        give(page, china)
        tile, picture = (
            page.locator(".views button").nth(4),
            page.locator(".picture"),
        )  # bottom right: 32 pixels are cut off
        expect(tile).to_be_visible()
        rest = read_pixels(picture)
        for show, hide in ((tile.hover, page.locator("h1").hover), (tile.focus, tile.blur)):
            show()
            shown = read_pixels(picture)
            assert shown[10, 400].sum() < 0.6 * rest[10, 400].sum()  # shade above the view
            assert abs(shown[400, 99] - np.array([255, 210, 63])).max() < 30  # the view's frame
            hide()
            np.testing.assert_array_equal(read_pixels(picture), rest)


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pasted_and_dropped_images_are_answered_too(way: str, browser: Browser, url: str, china: Path) -> None:
    script = """([way, data]) => {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], "china.jpg", { type: "image/jpeg" }));
      const options = { bubbles: true, cancelable: true };
      const event = way === "paste" ? new ClipboardEvent(way, { clipboardData: carried, ...options })
        : new DragEvent(way, { dataTransfer: carried, ...options });
      document.body.dispatchEvent(event);
    }"""
    with open_page(browser, url) as page:
        page.evaluate(script, [way, base64.b64encode(china.read_bytes()).decode()])
        assert_shows(page, ask(url, china.read_bytes()))


def test_classes_of_the_same_words_are_told_apart(browser: Browser, url: str) -> None:
    with open_page(browser, url) as page:
        cranes = [
            {"id": "n02012849", "label": "crane"},
            {"id": "n03126707", "label": "crane"},
            {"id": "n1", "label": "ant"},
        ]
        said = page.evaluate(
            "(guesses) => import('/page/words.js').then(({ tellApart }) => tellApart(guesses))", [*cranes, cranes[0]]
        )
    assert [guess["label"] for guess in said] == ["crane (n02012849)", "crane (n03126707)", "ant", "crane (n02012849)"]


def test_a_drop_without_a_file_is_explained(browser: Browser, url: str, china: Path) -> None:
    drop = "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer(), bubbles: true }))"
    with open_page(browser, url) as page:
        page.evaluate(drop)
        expect(page.get_by_role("alert").filter(has_text="That was no file")).to_be_visible()
        give(page, china)
        assert_shows(page, ask(url, china.read_bytes()))
        expect(page.locator("#failed")).to_be_empty()
        page.evaluate(drop)
        expect(page.locator("#answers")).to_be_visible()


def test_a_damaged_file_is_explained_and_the_page_works_on(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url, "400", "415") as page:
        give(page, china)
        expect(page.locator("#answers")).to_be_visible()
        give(page, ("half.jpg", china.read_bytes()[:9000]))
        failed = page.locator("article .failed")
        expect(failed).to_contain_text("Damaged image")
        expect(page.locator(".found")).to_be_hidden()
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()  # the same image would fail again
        give(page, ("notes.txt", b"no image at all"))
        expect(failed).to_contain_text("Not an image of a known format (JPEG, ")
        give(page, china)
        expect(failed).to_be_empty()
        assert_shows(page, ask(url, china.read_bytes()))


def test_too_large_a_file_is_explained_with_its_size(browser: Browser, url: str) -> None:
    with open_page(browser, url, "413", "ERR_") as page:
        give(page, ("huge.bmp", b"BM" + bytes(MAX_BODY)))
        expect(page.locator("article .failed")).to_contain_text("huge.bmp (2.0 MB) is too large")


def test_tiff_is_answered_and_the_page_says_that_it_cannot_be_shown(browser: Browser, url: str, china: Path) -> None:
    packed = io.BytesIO()
    with Image.open(china) as image:
        image.resize((320, 213)).save(packed, "TIFF")
    with open_page(browser, url) as page:
        give(page, ("china.tiff", packed.getvalue()))
        expect(page.locator(".unshown")).to_have_text("This browser cannot show TIFF images; the server can read them.")
        expect(page.locator(".labels li")).to_have_count(5)
        expect(page.locator(".views button")).to_have_count(10)


def test_newer_image_stops_the_older_and_progress_is_shown(
    browser: Browser, url: str, china: Path, photographs: dict[str, Path]
) -> None:
    with open_page(browser, url, "ERR_", reduced_motion="reduce") as page:
        stopped = list[str | None]()
        page.on("requestfailed", lambda request: stopped.append(request.failure))
        page.route("**/v1/predict**", lambda route: None, times=1)  # never answered
        give(page, photographs["flower"])
        expect(page.locator("#state")).to_have_text("Looking at flower.jpg …")
        expect(page.locator("main")).to_have_class("busy")
        assert page.evaluate("document.getAnimations().length") == 0
        give(page, china)
        assert_shows(page, ask(url, china.read_bytes()))
        expect(page.locator("main")).not_to_have_class("busy")
        assert stopped == ["net::ERR_ABORTED"]


def test_busy_and_unreachable_servers_are_explained_and_the_image_is_sent_again(
    browser: Browser, url: str, china: Path
) -> None:
    with open_page(browser, url, "429", "ERR_FAILED") as page:
        full = json.dumps({"error": {"code": "queue_full", "message": "256 images wait"}})
        page.route(
            "**/v1/predict**", lambda route: route.fulfill(status=429, body=full, headers={"Retry-After": "2"}), times=1
        )
        give(page, china)
        expect(page.locator("article .failed")).to_have_text("The server is busy: 256 images wait. Try again in 2 s.")
        page.route(re.compile("/v1/predict|/readyz"), lambda route: route.abort(), times=2)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("article .failed")).to_have_text("The server cannot be reached.")
        page.get_by_role("button", name="Try again").press("Enter")
        assert_shows(page, ask(url, china.read_bytes()))


def test_everything_can_be_reached_by_keyboard_in_order(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url) as page:
        with page.expect_file_chooser() as chooser:
            expect(page.locator("#examples")).to_be_visible()
            for control in ("#model", "summary", "#pick"):
                page.keyboard.press("Tab")
                expect(page.locator(control)).to_be_focused()
            page.keyboard.press("Enter")
        chooser.value.set_files(china)
        expect(page.locator(".views button")).to_have_count(10)
        reached = []
        for _ in range(4 + 3 + 10 + 5 + 3):
            page.keyboard.press("Tab")
            name, outline = page.evaluate(
                """() => {
                  const { id, dataset, localName } = document.activeElement;
                  const list = document.activeElement.closest("ol")?.className;
                  const outline = getComputedStyle(document.activeElement).outline;
                  return [id || dataset.label || dataset.form || list || localName, outline];
                }"""
            )
            reached.append(name)
            assert "solid 2px" in outline, name
        assert reached == [
            *("sunflower", "stop_sign", "pyramid", "starfish"),
            *("curl", "python", "json"),
            *["views"] * 10,
            *("dataset", "validated", "limit", "holdout", "button"),
            *["a"] * 3,
        ]


def test_screen_readers_are_given_names_and_headings(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url) as page:
        give(page, china)
        expect(page.locator(".views button")).to_have_count(10)
        name = re.compile(r"^[a-z ]+ \d+\.\d%( ✓)? (top left|top right|center|bottom left|bottom right)(, mirrored)?$")
        assert page.get_by_role("button", name=name).count() == 10
        assert page.evaluate("Array.from(document.querySelectorAll('h1,h2,h3'), (h) => h.tagName)")[:2] == ["H1", "H2"]
        for field in ("Data set", "At most"):
            expect(page.get_by_label(field, exact=True)).to_be_visible()
        expect(page.get_by_role("img", name="The first-layer kernels of caltech101")).to_be_visible()
        assert page.get_by_role("main").count() == page.get_by_role("heading", level=1).count() == 1


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 320)])
def test_page_can_be_read_in_light_and_dark_and_never_scrolls_sideways(
    scheme: str, width: int, browser: Browser, url: str, china: Path
) -> None:
    script = """() => {
      const byte = (channel) => Number(channel).toString(16).padStart(2, "0");
      const hex = (colour) => "#" + colour.match(/[\\d.]+/g).slice(0, 3).map(byte).join("");
      const clear = (colour) => /, 0\\)$/.test(colour);
      const ground = (e) => {
        if (!e) return "rgb(255, 255, 255)";
        const colour = getComputedStyle(e).backgroundColor;
        return clear(colour) ? ground(e.parentElement) : colour;
      };
      const own = (e) => Array.from(e.childNodes).some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      return Array.from(document.body.querySelectorAll("*")).filter((e) => own(e) && e.checkVisibility())
        .map((e) => [e.textContent, hex(getComputedStyle(e).color), hex(ground(e))]);
    }"""
    with open_page(browser, url, color_scheme=scheme, viewport={"width": width, "height": 700}) as page:
        give(page, china)
        expect(page.locator(".views button")).to_have_count(10)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = page.evaluate(script)
        assert (
            len(found) > 50 and min((contrast(text, ground), words) for words, text, ground in found)[0] >= 4.5
        )  # WCAG 2, AA
        paper = contrast(
            page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')"), "#000000"
        )
        assert paper > 15 if scheme == "light" else paper < 2


def test_telephone_takes_photographs_and_shows_the_picture_beside_each_view(
    browser: Browser, url: str, china: Path
) -> None:
    with open_page(browser, url) as page:
        expect(page.locator("#photograph")).to_be_hidden()
    with open_page(browser, url, is_mobile=True, has_touch=True, viewport={"width": 360, "height": 700}) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Take a photograph").tap()
        assert chooser.value.element.get_attribute("capture") == "environment"
        chooser.value.set_files(china)
        page.locator(".views button").last.tap()
        expect(page.locator(".views button").last).to_be_in_viewport(ratio=0.5)
        expect(page.locator(".picture")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", ["/nets/tencrop", "/nets/tencrop/"])
def test_page_works_below_a_sub_path(browser: Browser, folder: Path, china: Path, path: str) -> None:
    (folder / "below").mkdir(exist_ok=True)
    models = [str(EMBEDDED / "tencrop.onnx"), str(folder / "second.onnx")]
    options = [*models, "--root-path", "/nets/tencrop", "--precision", "fp32"]
    kept = ["--data-root", str(folder / "data"), "--state-dir", str(folder / "below")]
    with run_server(*options, *kept) as (_, url), open_page(browser, url, path=path) as page:
        give(page, china)
        expect(page.locator(".views button")).to_have_count(10)
        kernels = page.get_by_role("img", name="The first-layer kernels of caltech101")
        expect(kernels).to_have_js_property("naturalWidth", 738)
        start(page, "photos")
        report = page.get_by_role("link", name="Report")
        expect(report).to_be_visible()
        with urllib.request.urlopen(url + str(report.get_attribute("href"))) as reply:
            assert reply.status == 200


def test_other_model_answers_the_same_image_and_shows_its_kernels(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url) as page:
        give(page, china)
        expect(page.locator(".views button")).to_have_count(10)
        with page.expect_response(lambda reply: "/v1/predict?views=true&model=second" in reply.url) as reply:
            page.get_by_label("Model").first.select_option("second")
        assert reply.value.json()["model"] == "second"
        kernels = page.get_by_role("img", name="The first-layer kernels of second")
        expect(kernels).to_have_attribute("src", "/page/kernels.png?model=second")
        expect(kernels).to_have_js_property("naturalWidth", 738)


def row(page: Page, name: str) -> Locator:
    return page.locator("#jobs li").filter(has=page.get_by_role("heading", name=name, exact=True))


def start(page: Page, dataset: str, limit: int | None = None, holdout: float | None = None) -> None:
    page.get_by_label("Data set", exact=True).fill(dataset)
    page.get_by_label("Held-out share", exact=True).fill(str(holdout or ""))
    page.get_by_label("At most", exact=True).fill(str(limit or ""))
    page.get_by_role("button", name="Start").click()


def test_job_is_started_followed_and_leads_to_its_report(browser: Browser, url: str, hold: Path) -> None:
    hold.touch()
    with open_page(browser, url) as page:
        start(page, "photos")
        job, next_one = row(page, "photos by caltech101"), row(page, "photos by caltech101, at most 3 images")
        expect(job.get_by_role("progressbar")).to_have_js_property("value", 8 / IMAGES)
        expect(job.locator(".status")).to_have_text(
            re.compile(rf"^Running: 8 of {IMAGES} images, [\d.]+ images/s, \d+ \w+ left$")
        )
        start(page, "photos", 3)
        expect(next_one.locator(".status")).to_have_text("Waiting for its turn")
        hold.unlink()
        expect(job.locator(".status")).to_have_text(
            re.compile(rf"^Done: {IMAGES} images, [\d.]+ images/s; 1 left out$")
        )
        expect(next_one.locator(".status")).to_contain_text("Done: 3 images")
        expect(page.locator("#job-news")).to_contain_text("Validation of photos. Done: ")
        summary = page.evaluate("fetch('/v1/validations').then((reply) => reply.json())")[1]["summary"]
        errors = [summary[kind][which] for kind in ("center", "ten_crop") for which in ("top1_error", "top5_error")]
        expect(job.locator("tbody td")).to_have_text([f"{100 * error:.2f}%" for error in errors])
        job.get_by_role("link", name="Report").click()
        expect(page).to_have_title("caltech101 on photos")
        page.go_back()
        for finished in (job, next_one):
            finished.get_by_role("button", name="Remove").click()
            expect(finished).to_have_count(0)


def test_folders_of_the_data_root_are_suggested(browser: Browser, url: str, folder: Path) -> None:
    classes = sorted(path.name for path in (folder / "data" / "photos").iterdir() if path.is_dir())
    with open_page(browser, url) as page:
        suggested = page.locator("#folders option")
        page.get_by_label("Data set", exact=True).focus()
        expect(suggested).to_have_count(1)
        expect(suggested).to_have_attribute("value", "photos")
        page.get_by_label("Data set", exact=True).fill("photos/p")
        expect(suggested.first).to_have_attribute("value", f"photos/{classes[0]}")
        expect(suggested).to_have_count(len(classes))


def test_held_out_share_is_sent_and_shown(browser: Browser, url: str, hold: Path) -> None:
    with open_page(browser, url, "409") as page:
        start(page, "photos", holdout=0.2)
        job = row(page, "photos by caltech101, held-out share 0.2")
        expect(job.locator(".status")).to_contain_text(f"Done: {IMAGES // 5} images")
        page.evaluate("fetch('/v1/validations').then((reply) => reply.json()).then((jobs) => { window.job = jobs[0] })")
        page.wait_for_function("window.job")
        assert page.evaluate("job.holdout") == 0.2
        stale = page.evaluate_handle(
            "import('/page/job.js').then(({ Row }) => new Row(`/v1/validations/${job.id}`, () => {}))"
        )
        stale.evaluate(
            "(row) => { row.show({ ...job, status: 'running' }); return row.end(); }"
        )  # the job's button Cancel, pressed too late
        assert page.evaluate("fetch(`/v1/validations/${job.id}/report`).then((reply) => reply.status)") == 200
        job.get_by_role("button", name="Remove").click()
        expect(job).to_have_count(0)


def test_jobs_are_cancelled_and_removed_and_mistakes_are_explained(browser: Browser, url: str, hold: Path) -> None:
    hold.touch()
    with open_page(browser, url, "409", "422") as page:
        start(page, "../photos")
        expect(page.locator("#job-error")).to_have_text("Dataset: not in the data root; give a path below it.")
        start(page, "photos", 20)
        start(page, "photos", 3)
        first, second = (row(page, f"photos by caltech101, at most {limit} images") for limit in (20, 3))
        expect(first.locator(".status")).to_contain_text("Running: 8 of 20 images")
        expect(second.locator(".status")).to_have_text("Waiting for its turn")
        expect(page.locator("#job-error")).to_be_empty()
        first.get_by_role("button", name="Cancel").click()
        expect(first.locator(".status")).to_have_text("Cancelled after 8 images")
        first.get_by_role("button", name="Remove").click()  # the server answers that the job is still stopping
        hold.unlink()
        expect(first).to_have_count(0)
        expect(page.locator("#validations-heading")).to_be_focused()
        expect(second.locator(".status")).to_contain_text("Done: 3 images")
        second.get_by_role("button", name="Remove").press("Enter")
        expect(page.locator("#jobs li")).to_have_count(0)


def test_key_is_asked_for_once_and_sent_with_everything(browser: Browser, url: str, china: Path) -> None:
    with open_page(browser, url, "401") as page:
        page.route("**/v1/**", locked)
        page.reload()
        for wrong in ("", "wrong"):
            expect(page.locator("#refused")).to_have_text("The server does not know this key." if wrong else "")
            expect(page.get_by_label("The server asks for a key")).to_be_focused()
            page.keyboard.type(KEY if wrong else "wrong")
            page.keyboard.press("Enter")
        expect(page.locator("#lock")).to_be_hidden()
        give(page, china)
        assert_shows(page, ask(url, china.read_bytes()))
        start(page, "photos", 2)
        job = row(page, "photos by caltech101, at most 2 images")
        with page.expect_download() as download:
            job.get_by_role("link", name="Save its report").click()
        assert download.value.suggested_filename == "report.html"
        assert "<title>caltech101 on photos</title>" in download.value.path().read_text(encoding="utf-8")
        page.reload()
        row(page, "photos by caltech101, at most 2 images").get_by_role("button", name="Remove").click()
        expect(page.locator("#jobs li")).to_have_count(0)
        expect(page.locator("#lock")).to_be_hidden()


def locked(route: Route) -> None:
    if route.request.headers.get("authorization") == f"Bearer {KEY}":
        route.fallback()
    else:
        route.fulfill(status=401, body=json.dumps({"error": {"code": "unauthorized", "message": "send a key"}}))
