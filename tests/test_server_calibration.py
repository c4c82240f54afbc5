"""Answers of a calibrated model in every interface: confidences, sets, and the bytes that an answer comes from."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import run_server
from support.calibrated import CALIBRATION, TINY, write_calibrated
from support.pictures import encode, picture

from tencrop.common.errors import BadInput
from tencrop.images.decoder_version import decoder_version
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

IMAGES = [encode(Image.fromarray(picture(*size)), "JPEG", quality=90) for size in ((60, 80), (300, 200), (90, 500))]
FP32 = EngineOptions("cpu", "openvino", "fp32")
PATHS = ("/v1/predict", "/v1/predict/batch", "/v1/image-classification")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    with open_classifier(write_calibrated(tmp_path_factory.mktemp("calibrated") / "sure"), FP32) as classifier:
        yield classifier


@pytest.fixture(scope="module")
def client(calibrated: Classifier) -> Iterator[TestClient]:
    """The calibrated model `sure`, the same net without a calibration (`tiny`), and an ensemble of the first."""
    with open_classifier(TINY, FP32) as plain:
        pair = Ensemble("pair", (calibrated, calibrated))
        with TestClient(create_app([calibrated, plain, pair], Settings())) as client:
            yield client


def post(client: TestClient | httpx2.Client, path: str, image: bytes) -> Any:
    """The answer to an image in any of the PATHS."""
    files = {"images" if "/batch" in path else "image": image}
    reply = client.post(path, files=files)
    return reply if reply.status_code != 200 else (reply.json(), reply.headers)


def check_guesses(guesses: list[dict[str, Any]], image: bytes, classifier: Classifier) -> None:
    """Each guess has the probability of its class and the confidence that the map makes of all views."""
    prediction = classifier.predict(image)
    views = np.sqrt(prediction.view_probabilities.astype(np.float64))  # temperature 2
    confidences = (views / views.sum(1, keepdims=True)).mean(0)
    for guess in guesses:
        assert guess["probability"] == prediction.probabilities[guess["index"]]
        assert guess["confidence"] == pytest.approx(confidences[guess["index"]], rel=1e-5)


@pytest.mark.parametrize(("coverage", "threshold"), [(0.8, 0.34), (0.9, 0.1)])
def test_a_set_has_the_labels_that_reach_its_threshold(
    coverage: float, threshold: float, client: TestClient, calibrated: Classifier
) -> None:
    for image in IMAGES:
        answer, _ = post(client, f"/v1/predict?coverage={coverage}&top=1", image)
        (batched,) = post(client, f"/v1/predict/batch?coverage={coverage}&top=1", image)[0]["results"]
        probabilities = calibrated.predict(image).probabilities
        order = np.argsort(-probabilities)
        wanted = [int(i) for i in order if i == order[0] or probabilities[i] >= threshold]
        assert [guess["index"] for guess in answer["set"]] == wanted
        assert batched["set"] == answer["set"] and answer["top"] == answer["set"][:1]
        check_guesses(answer["set"], image, calibrated)


def test_answers_have_confidences_without_being_asked(client: TestClient, calibrated: Classifier) -> None:
    answer, _ = post(client, "/v1/predict", IMAGES[0])
    assert len(answer["top"]) == 3 and "set" not in answer
    check_guesses(answer["top"], IMAGES[0], calibrated)


def test_a_model_that_is_not_calibrated_answers_as_before(client: TestClient) -> None:
    answer, _ = post(client, "/v1/predict?model=tiny", IMAGES[0])
    assert all(set(guess) == {"index", "id", "label", "probability"} for guess in answer["top"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", ["tiny", "pair"])
def test_a_coverage_of_a_model_without_calibration_is_422_with_the_command(
    path: str, model: str, client: TestClient
) -> None:
    reply = post(client, f"{path}?coverage=0.9&model={model}", IMAGES[0])
    wanted = f"coverage: {model} is not calibrated; `tencrop calibrate MODEL DATA --out MODEL2` makes a file that is"
    assert (reply.status_code, reply.json()["error"]) == (422, {"code": "bad_parameter", "message": wanted})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("coverage", "message"), [("0.95", "sure is calibrated for 0.8, 0.9"), ("1", "coverage: ")])
def test_an_unknown_coverage_is_422_with_those_of_the_file(
    path: str, coverage: str, message: str, client: TestClient
) -> None:
    reply = post(client, f"{path}?coverage={coverage}", IMAGES[0])
    assert reply.status_code == 422 and message in reply.json()["error"]["message"]


def test_the_hubs_interface_has_confidences_and_the_set_in_headers(client: TestClient) -> None:
    guesses, headers = post(client, "/v1/image-classification?coverage=0.9", IMAGES[1])
    answer, _ = post(client, "/v1/predict?coverage=0.9", IMAGES[1])
    assert [guess["score"] for guess in guesses] == [guess["probability"] for guess in answer["top"]]
    confidences = [float(text) for text in headers["x-tencrop-confidence"].split(", ")]
    assert confidences == pytest.approx([guess["confidence"] for guess in answer["top"]], rel=1e-5)
    assert [int(text) for text in headers["x-tencrop-set"].split(", ")] == [guess["index"] for guess in answer["set"]]
    assert headers["x-tencrop-model"].split("; ") == [answer[k] for k in ("model_sha256", "contract_sha256", "decoder")]
    assert headers["server-timing"].startswith("decode;dur=")
    _, plain = post(client, "/v1/image-classification?model=tiny", IMAGES[1])
    assert "x-tencrop-confidence" not in plain and "x-tencrop-set" not in plain


def test_python_has_confidences_and_sets(calibrated: Classifier, client: TestClient) -> None:
    answer, _ = post(client, "/v1/predict?coverage=0.9", IMAGES[2])
    for prediction in (calibrated.predict(IMAGES[2], coverage=0.9), *calibrated.predict(IMAGES[2:], coverage=0.9)):
        assert prediction.set and [vars(guess) for guess in prediction.set] == answer["set"]
    assert calibrated.predict(IMAGES[2]).set is None and calibrated.calibration == CALIBRATION
    with pytest.raises(BadInput, match="calibrated for"):
        calibrated.predict_each(IMAGES, coverage=0.5).__next__()


def test_the_bytes_of_an_answer_are_told_everywhere(client: TestClient, calibrated: Classifier) -> None:
    file = calibrated.file.folder / "tencrop.onnx"
    sha256, contract = hashlib.sha256(file.read_bytes()).hexdigest(), calibrated.contract.sha256
    of_answers = {"model_sha256": sha256, "contract_sha256": contract, "decoder": decoder_version()}
    of_models = {"sha256": sha256, "contract_sha256": contract, "decoder": decoder_version()}
    answer, _ = post(client, "/v1/predict", IMAGES[0])
    inference = client.post(
        "/v2/models/sure/infer",
        content=IMAGES[0],
        headers={"inference-header-content-length": "0", "content-type": "application/octet-stream"},
    )
    length = int(inference.headers["inference-header-content-length"])
    for found in (
        answer,
        json.loads(inference.content[:length])["parameters"],
        client.get("/v2").json()["models"]["sure"],
        client.get("/v2/models/sure").json()["parameters"],
    ):
        assert {key: found[key] for key in of_answers} == of_answers
    for path in ("/readyz", "/v1/models"):
        (found, _, pair) = client.get(path).json()["models"]
        assert {key: found[key] for key in of_models} == of_models
        assert (found["coverages"], pair["coverages"]) == ([0.8, 0.9], [])
    assert client.get("/v1/models/sure").json()["calibration"] == CALIBRATION.describe()
    assert client.get("/v1/models/tiny").json()["calibration"] is None


def test_times_stand_in_a_header(client: TestClient) -> None:
    answer, headers = post(client, "/v1/predict", IMAGES[0])
    times = {
        name: float(text)
        for name, _, text in (each.partition(";dur=") for each in headers["server-timing"].split(", "))
    }
    assert times == answer["timing_ms"]
    batch, headers = post(client, "/v1/predict/batch?timing=false", b"no image")
    assert "error" in batch["results"][0] and "server-timing" not in headers


def test_an_answer_without_times_depends_on_image_model_and_parameters_alone(client: TestClient) -> None:
    known: dict[tuple[int, str], bytes] = {}

    @settings(max_examples=5, deadline=None)
    @given(
        st.lists(st.sampled_from(range(len(IMAGES))), min_size=1, max_size=5),
        st.sampled_from(["", "&views=true", "&coverage=0.9", "&model=tiny", "&top=2&coverage=0.8"]),
    )
    def check(order: list[int], parameters: str) -> None:
        query = f"?timing=false{parameters}"
        for number in order:
            body = client.post(f"/v1/predict{query}", content=IMAGES[number]).content
            assert known.setdefault((number, parameters), body) == body
        files = [("images", IMAGES[number]) for number in order]
        batch = client.post(f"/v1/predict/batch{query}", files=files).content
        assert batch == b'{"results":[' + b",".join(known[number, parameters] for number in order) + b"]}"

    check()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_of_any_number_of_workers_gives_the_same_confidences_and_sets(
    workers: int, calibrated: Classifier, client: TestClient
) -> None:
    query = "?timing=false&coverage=0.8"
    wanted = [client.post(f"/v1/predict{query}", content=image).content for image in IMAGES]
    with (
        run_server(str(calibrated.file.folder), "--precision", "fp32", "--workers", str(workers)) as (_, address),
        httpx2.Client(base_url=address, timeout=60) as other,
    ):
        assert [other.post(f"/v1/predict{query}", content=image).content for image in IMAGES] == wanted
        assert other.get("/readyz").json()["models"][0]["coverages"] == [0.8, 0.9]
