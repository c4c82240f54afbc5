"""The page in a real Chromium: an image with the six nearest of an index, and what it says where there are none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sockets import serve_in_thread
from support.chromium import needs_chromium
from support.page import give, open_page

from tencrop.dataset.layouts import open_source
from tencrop.evaluation.feature_file import FeatureFile
from tencrop.evaluation.features import extract_features, plan_features
from tencrop.evaluation.neighbours import describe_image, find_neighbours
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

pytestmark = [
    needs_chromium,
    pytest.mark.slow,
]
QUERY = "bee_hive/3.png"


@pytest.fixture(scope="module")
def root(tiny_folder: Path, feature_net: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with photos/, which lacks one image, and its index."""
    root = tmp_path_factory.mktemp("nearest")
    shutil.copytree(tiny_folder, root / "photos")
    extract_features(plan_features(open_source(root / "photos")), feature_net, "fc7", "center", root / "photos.parquet")
    (root / "photos" / QUERY).unlink()
    return root


@pytest.fixture(scope="module")
def url(feature_net: Classifier, classifier: Classifier, root: Path) -> Iterator[str]:
    settings = Settings(data_root=root, state_dir=root / "state")
    with serve_in_thread(create_app([feature_net], settings)) as (_, port):
        yield f"http://127.0.0.1:{port}"


def find(page: Page, index: str) -> None:
    page.get_by_label("Index").fill(index)
    page.get_by_role("button", name="Find").click()


def test_an_image_stands_beside_its_six_nearest(
    browser: Browser, url: str, root: Path, tiny_folder: Path, feature_net: Classifier
) -> None:
    file = FeatureFile.open(root / "photos.parquet")
    want = find_neighbours(describe_image(tiny_folder / QUERY, feature_net, file), file, 6)
    assert want[0].id == QUERY and want[1].distance > 0
    with open_page(browser, url) as page:
        find(page, "photos.parquet")
        expect(page.locator("#nearest-error")).to_have_text("Pick an image first.")
        give(page, tiny_folder / QUERY)
        expect(page.locator("#answers article")).to_have_count(1)
        find(page, "photos.parquet")
        near = page.locator("#near ol li")
        expect(near.locator("b")).to_have_text([each.label for each in want])
        expect(near.locator("small")).to_have_text([f"distance {each.distance:#.3g}" for each in want])
        expect(near.locator(".note")).to_have_text(["image: no such file in the data root"])
        pictures = near.locator("img")
        expect(pictures).to_have_count(5)
        for picture, each in zip(pictures.all(), want[1:], strict=True):
            assert picture.get_attribute("alt") == each.id
            assert picture.evaluate("(picture) => picture.decode().then(() => picture.naturalWidth)") == 224
        query = page.locator("#near > li > .tile")
        expect(query.locator("b")).to_have_text("3.png")
        alpha = "(canvas) => canvas.getContext('2d').getImageData(112, 112, 1, 1).data[3]"
        assert query.locator("canvas").evaluate(alpha) == 255
        expect(page.locator("#nearest-state")).to_have_text("Found the nearest images of 1.")


def test_an_index_that_cannot_be_used_is_one_line(browser: Browser, url: str, tiny_folder: Path) -> None:
    with open_page(browser, url, "422") as page:
        give(page, tiny_folder / QUERY)
        expect(page.locator("#answers article")).to_have_count(1)
        for index, why in (
            ("../photos.parquet", "Index: not in the data root; give a path below it"),
            ("photos/ant/1.png", "Index: 1.png: no feature file"),
        ):
            find(page, index)
            expect(page.locator("#nearest-error")).to_contain_text(why)
            expect(page.locator("#near li")).to_have_count(0)


def test_a_model_without_features_is_offered_no_index(browser: Browser, classifier: Classifier, root: Path) -> None:
    settings = Settings(data_root=root, state_dir=root / "other")
    with (
        serve_in_thread(create_app([classifier], settings)) as (_, port),
        open_page(browser, f"http://127.0.0.1:{port}") as page,
    ):
        expect(page.locator("#kernels")).to_be_visible()
        expect(page.locator("#nearest")).to_be_hidden()
