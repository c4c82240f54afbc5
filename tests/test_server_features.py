"""Features by /v1/features and /v2: the numbers of `tencrop features`, beside requests for labels, and refusals."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tencrop.images.decode import decode
from tencrop.model.contract import CENTER_VIEW
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.ensemble import Ensemble
from tencrop.server.app import create_app
from tencrop.server.settings import Settings


@pytest.fixture(scope="module")
def client(feature_net: Classifier) -> Iterator[TestClient]:
    """A server of that model, and of an ensemble of it with itself."""
    with TestClient(create_app([feature_net, Ensemble("pair", (feature_net, feature_net))], Settings())) as client:
        yield client


@pytest.fixture(scope="module")
def jpeg(photographs: dict[str, Path]) -> bytes:
    return photographs["china"].read_bytes()


def post(client: TestClient, path: str, **body: Any) -> Any:
    reply = client.post(path, **body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("layer", ["fc7", "fc6"])
def test_the_numbers_are_the_nets_own(client: TestClient, feature_net: Classifier, jpeg: bytes, layer: str) -> None:
    own = feature_net.forward_features(decode(jpeg, feature_net.contract)[0][None], layer)[0]
    center = post(client, f"/v1/features?layer={layer}", content=jpeg)
    assert center["features"] == own[CENTER_VIEW].tolist(), "every bit of float32"
    assert (center["layer"], center["views"], center["model_sha256"]) == (layer, "center", feature_net.sha256)
    assert center["input"]["format"] == "JPEG" and set(center["timing_ms"]) == {"decode", "queue", "engine"}
    ten = post(client, f"/v1/features?layer={layer}&views=ten&timing=false", files={"image": jpeg})
    np.testing.assert_allclose(ten["features"], own.mean(0), rtol=1e-6)
    assert "timing_ms" not in ten


def test_a_batch_is_in_the_order_of_its_images(client: TestClient, jpeg: bytes, photographs: dict[str, Path]) -> None:
    images = [jpeg, b"no image", photographs["flower"].read_bytes()]
    first, failed, last = post(client, "/v1/features/batch", files=[("images", image) for image in images])["results"]
    assert failed["error"]["code"] == "unsupported_format"
    for found, image in ((first, images[0]), (last, images[2])):
        assert found["features"] == post(client, "/v1/features?layer=fc7", content=image)["features"]
    assert first["features"] != last["features"]


def test_the_models_say_which_layers_they_give(client: TestClient) -> None:
    models = client.get("/readyz").json()["models"]
    assert [model["features"] for model in models] == [["fc7", "fc6"], []]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        (
            "layer=pool5",
            "no_features",
            "caltech101 gives features of fc7, fc6; export it with `tencrop export --features pool5`",
        ),
        ("model=pair", "no_features", "pair gives features of no layer; ask one of its nets"),
        ("layer=fc8", "bad_parameter", "layer: input should be 'fc7', 'fc6' or 'pool5'"),
        ("views=each", "bad_parameter", "views: input should be 'center' or 'ten'"),
        ("veiws=ten", "bad_parameter", "unknown parameter 'veiws'; the nearest known name is 'views'"),
    ],
)
def test_a_request_that_cannot_be_answered_is_one_line(
    client: TestClient, jpeg: bytes, query: str, code: str, message: str
) -> None:
    for path, body in (("/v1/features", {"image": jpeg}), ("/v1/features/batch", {"images": jpeg})):
        reply = client.post(f"{path}?{query}", files=body)
        assert (reply.status_code, reply.json()["error"]) == (422, {"code": code, "message": message})


def infer(client: TestClient, model: str, image: dict[str, Any], *outputs: dict[str, Any]) -> Any:
    """The answer of /v2, or its error."""
    reply = client.post(f"/v2/models/{model}/infer", json={"inputs": [image], "outputs": outputs})
    return reply.json()["outputs"] if reply.status_code == 200 else reply.json()["error"]


def bytes_of(*images: bytes) -> dict[str, Any]:
    data = [base64.b64encode(image).decode() for image in images]
    return {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data}


def test_features_are_outputs_of_v2(client: TestClient, feature_net: Classifier, jpeg: bytes) -> None:
    name, pixels = feature_net.name, decode(jpeg, feature_net.contract)[0][None]
    own = feature_net.forward_features(pixels, "fc6")[0]
    listed = client.get(f"/v2/models/{name}").json()["outputs"]
    assert [(each["name"], each["shape"]) for each in listed[2:]] == [("fc7", [-1, 4096]), ("fc6", [-1, 4096])]
    config = client.get(f"/v2/models/{name}/config").json()["output"]
    assert [each["name"] for each in config] == [each["name"] for each in listed]
    square = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    for model, image in ((name, bytes_of(jpeg)), (f"{name}-pixels", square)):
        center, mean = infer(client, model, image, {"name": "fc6"}, {"name": "probabilities"})
        assert (center["name"], center["datatype"], center["shape"]) == ("fc6", "FP32", [1, 4096])
        assert center["data"] == own[CENTER_VIEW].tolist(), "every bit of float32"
        assert mean["data"] == feature_net.forward(pixels)[0][0].tolist()
    (ten,) = infer(client, name, bytes_of(jpeg, jpeg), {"name": "fc6", "parameters": {"views": "ten"}})
    assert ten["shape"] == [2, 4096]
    np.testing.assert_allclose(ten["data"], np.tile(own.mean(0), 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "outputs", "message"),
    [
        (
            "NAME",
            [{"name": name} for name in ("view_probabilities", "fc6", "probabilities", "fc7")],
            "fc6 and fc7: ask for the features of one layer in a request",
        ),
        ("NAME", [{"name": "probabilities"}, {"name": "fc7"}, {"name": "fc7"}], "output 'fc7' is asked for twice"),
        ("NAME", [{"name": "fc7", "parameters": {"views": "all"}}], "views of fc7: expected center or ten"),
        ("NAME", [{"name": "fc7", "parameters": {"classification": 3}}], "classification of fc7: features have no"),
        ("NAME", [{"name": "pool5"}], "this model has the outputs probabilities, view_probabilities, fc7, fc6"),
        ("pair", [{"name": "fc7"}], "this model has the outputs probabilities, view_probabilities"),
    ],
)
def test_outputs_that_v2_refuses(
    client: TestClient, feature_net: Classifier, jpeg: bytes, model: str, outputs: list[dict[str, Any]], message: str
) -> None:
    assert message in infer(client, model.replace("NAME", feature_net.name), bytes_of(jpeg), *outputs)


def test_a_model_that_was_exported_without_features_says_how_to_get_them(classifier: Classifier, jpeg: bytes) -> None:
    with TestClient(create_app([classifier], Settings())) as plain:
        reply = plain.post("/v1/features", content=jpeg)
    message = "caltech101 gives features of no layer; export it with `tencrop export --features fc7`"
    assert (reply.status_code, reply.json()["error"]["message"]) == (422, message)


def test_features_that_are_no_numbers_are_no_answer(
    client: TestClient, feature_net: Classifier, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = feature_net.engine.run

    def break_fc7(batch: np.ndarray, names: Any = ()) -> dict[str, np.ndarray]:
        return {name: values * np.nan if name == "fc7" else values for name, values in run(batch, names).items()}

    monkeypatch.setattr(feature_net.engine, "run", break_fc7)
    reply = client.post("/v1/features", content=jpeg)
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "no_answer")
    assert client.post("/v1/predict", content=jpeg).status_code == 200
