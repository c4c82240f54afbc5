"""An image has the same probabilities, bit for bit, in any order, batch and interface: on OpenVINO, and where said."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import run_server
from support.interfaces import IN_PYTHON, OVER_HTTP, Answers, by_name, list_names, run_predict
from support.pictures import encode, picture

from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

TINY = Path(__file__).parent / "fixtures" / "0.1" / "tiny"
SIZES = ((60, 80), (300, 200), (256, 256), (640, 427), (90, 500), (257, 400), (31, 33))
IMAGES = [encode(Image.fromarray(picture(*size)), "JPEG", quality=90) for size in SIZES]
ORDERS = st.lists(st.sampled_from(range(len(IMAGES))), min_size=1, max_size=12)  # an image may come twice
EXAMPLES = settings(max_examples=4, deadline=None)
TWICE = (3, *range(len(IMAGES)), 3)  # an order for the embedded model, whose forward passes take 0.1 s an image


PROMISED = [  # the engines that promise the same bits
    pytest.param(EngineOptions("cpu", "openvino", "fp32"), id="openvino"),
    pytest.param(EngineOptions("cpu", "openvino", "fp32", streams=2), id="openvino-streams", marks=pytest.mark.slow),
    pytest.param(EngineOptions("cpu", "onnxruntime", deterministic=True), id="onnxruntime-deterministic"),
]


@pytest.fixture(scope="module", params=PROMISED)
def tiny(request: pytest.FixtureRequest) -> Iterator[Classifier]:
    with open_classifier(TINY, request.param) as classifier:
        yield classifier


@pytest.fixture(scope="module")
def tiny_client(tiny: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app([tiny], Settings())) as client:
        yield client


@pytest.fixture(scope="module")
def whole() -> Iterator[Classifier]:
    """The embedded model as it is served without options: in bf16 where the CPU has it."""
    with open_classifier(EMBEDDED, EngineOptions("cpu")) as classifier:
        yield classifier


def answers_alone(classifier: Classifier) -> Answers:
    """The answer to each image when its forward pass holds no other."""
    squares = [decode(image, classifier.contract)[0] for image in IMAGES]
    alone = by_name(classifier, [classifier.forward(square[None])[0][0] for square in squares])
    assert len({tuple(answer.values()) for answer in alone}) == len(IMAGES)
    return alone


def check(alone: Answers, found: Answers, order: Sequence[int]) -> None:
    """Compare the answers to the images `order` with those that each has alone."""
    assert len(found) == len(order)
    for number, answer in zip(order, found, strict=True):
        assert len(answer) >= min(5, len(alone[number]))
        assert answer == {name: alone[number][name] for name in answer}


def check_orders(alone: Answers, ask: Callable[[Sequence[bytes]], Answers]) -> None:
    """Ask for many lists of the images."""

    @EXAMPLES
    @given(ORDERS)
    def check_order(order: list[int]) -> None:
        check(alone, ask([IMAGES[number] for number in order]), order)

    check_order()


@pytest.mark.parametrize("way", IN_PYTHON)
def test_python_gives_an_image_the_same_bits_in_any_order_and_batch(way: str, tiny: Classifier) -> None:
    check_orders(answers_alone(tiny), partial(IN_PYTHON[way], tiny))


@pytest.mark.parametrize("way", OVER_HTTP)
def test_the_server_gives_an_image_the_same_bits_in_any_order_and_batch(
    way: str, tiny: Classifier, tiny_client: TestClient
) -> None:
    check_orders(answers_alone(tiny), partial(OVER_HTTP[way], tiny_client, list_names(tiny)))


@pytest.mark.slow
@pytest.mark.parametrize("way", IN_PYTHON)
def test_the_embedded_model_gives_the_same_bits_in_python(way: str, whole: Classifier) -> None:
    check(answers_alone(whole), IN_PYTHON[way](whole, [IMAGES[number] for number in TWICE]), TWICE)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_of_any_number_of_workers_gives_the_same_bits(workers: int, whole: Classifier) -> None:
    alone, names = answers_alone(whole), list_names(whole)
    with (
        run_server("--device", "cpu", "--workers", str(workers)) as (_, address),
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        for ask in OVER_HTTP.values():
            check(alone, ask(client, names, [IMAGES[number] for number in TWICE]), TWICE)


@pytest.mark.slow
def test_the_command_predict_gives_the_same_bits(whole: Classifier) -> None:
    check(answers_alone(whole), run_predict([IMAGES[number] for number in TWICE]), TWICE)


def test_onnxruntime_gives_the_same_bits_in_forward_passes_of_one_size() -> None:
    with open_classifier(TINY, EngineOptions("cpu", "onnxruntime")) as classifier:
        squares = np.stack([decode(image, classifier.contract)[0] for image in IMAGES])
        known: dict[tuple[int, int], bytes] = {}

        @EXAMPLES
        @given(ORDERS)
        def check_order(order: list[int]) -> None:
            for number, row in zip(order, classifier.forward(squares[order])[0], strict=True):
                assert known.setdefault((len(order), number), row.tobytes()) == row.tobytes()

        check_order()
