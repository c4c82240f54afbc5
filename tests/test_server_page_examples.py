"""The example pictures of the page: the embedded model names each by its file's name, and none is large."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.routes.page import EXAMPLES, PAGE
from tencrop.server.settings import Settings

CLEAR = 0.9  # the least probability of an example's label
MAX_BYTES = 40_000  # of a picture


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app([classifier], Settings())) as client:
        yield client


@pytest.mark.parametrize("precision", ["fp32", "auto"])  # auto: bf16, where the CPU has it
def test_every_view_of_an_example_says_its_name(precision: str) -> None:
    pictures = [PAGE / "examples" / name for name in EXAMPLES]
    with open_classifier(EMBEDDED, EngineOptions("cpu", "auto", precision)) as classifier:
        for picture, prediction in zip(pictures, classifier.predict(pictures), strict=True):
            assert prediction.top[0].id == picture.stem and prediction.top[0].probability > CLEAR
            assert {classifier.labels[i].id for i in prediction.view_probabilities.argmax(1)} == {picture.stem}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_served_and_answered(name: str, client: TestClient) -> None:
    picture = client.get(f"/page/examples/{name}")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert len(picture.content) <= MAX_BYTES
    answer = client.post("/v1/predict", content=picture.content).json()
    assert answer["top"][0]["id"] == Path(name).stem
