"""/v2 by tritonclient, sync and aio: JSON and binary, gzip, raw bodies, classification; and refused requests."""

import asyncio
import base64
import gzip
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from fastapi.testclient import TestClient
from serving import run_server
from tritonclient.utils import InferenceServerException

from tencrop.images.decode import decode
from tencrop.model.metrics import top_k
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.oip.codec import MAX_JSON
from tencrop.server.oip.compression import compress
from tencrop.server.settings import Settings

NAME = "caltech101"
COMPUTES = {"engine": "openvino", "device": "cpu", "precision": "fp32"}
ROUTES = [("", "get"), ("/ready", "get"), ("/config", "get"), ("/stats", "get"), ("/infer", "post")]  # of a model


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """host:port of a process that serves the embedded model in fp32."""
    with run_server("--precision", "fp32") as (_, url):
        yield url.removeprefix("http://")


@pytest.fixture
def client(server: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server) as client:
        yield client


@pytest.fixture(scope="module")
def files(photographs: dict[str, Path]) -> list[bytes]:
    return [path.read_bytes() for path in photographs.values()]


@pytest.fixture(scope="module")
def squares(files: list[bytes], classifier: Classifier) -> np.ndarray:
    return np.stack([decode(data, classifier.contract)[0] for data in files])


@pytest.fixture(scope="module")
def expected(squares: np.ndarray, classifier: Classifier) -> np.ndarray:
    return classifier.forward(squares)[0]


def encoded(files: list[bytes], binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("image", [len(files)], "BYTES")
    texts = files if binary else [base64.b64encode(data) for data in files]
    return tensor.set_data_from_numpy(np.array(texts, dtype=np.object_), binary_data=binary)


def pixels(squares: np.ndarray, binary: bool = True) -> triton.InferInput:
    return triton.InferInput("images", list(squares.shape), "UINT8").set_data_from_numpy(squares, binary_data=binary)


def close(result: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=0, atol=1e-5)


# ---- what a client asks first


def test_server_and_models_describe_themselves(client: triton.InferenceServerClient) -> None:
    assert (
        client.is_server_live()
        and client.is_server_ready()
        and client.is_model_ready(NAME)
        and client.is_model_ready(NAME, "1")
    )
    metadata = client.get_server_metadata()
    assert metadata["name"] == "tencrop" and "binary_tensor_data" in metadata["extensions"]
    assert {**metadata["models"][NAME], **COMPUTES} == metadata["models"][NAME]
    model = client.get_model_metadata(NAME)
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 101]},
        {"name": "view_probabilities", "datatype": "FP32", "shape": [-1, 10, 101]},
    ]
    assert client.get_model_config(NAME)["input"][0]["data_type"] == "TYPE_STRING"
    pixels, config = client.get_model_metadata(f"{NAME}-pixels", "1"), client.get_model_config(f"{NAME}-pixels")
    assert pixels["inputs"][0]["shape"] == [-1, 256, 256, 3]  # the rest is what Triton's image_client.py needs
    assert pixels["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 101]}]
    assert config["input"] == [
        {"name": "images", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": [256, 256, 3]}
    ]
    assert (config["output"][0]["dims"], config["max_batch_size"]) == ([101], 64)
    assert [entry["name"] for entry in client.get_model_repository_index()] == [NAME, f"{NAME}-pixels"]


def test_statistics_are_of_a_name_and_have_every_field(
    client: triton.InferenceServerClient, files: list[bytes], squares: np.ndarray
) -> None:
    def ask(name: str) -> dict[str, Any]:
        (found,) = [each for each in client.get_inference_statistics()["model_stats"] if each["name"] == name]
        assert client.get_inference_statistics(name)["model_stats"] == [found]
        return found  # type: ignore[no-any-return]

    before, other = ask(NAME), ask(f"{NAME}-pixels")
    client.infer(NAME, [encoded(files)])
    with pytest.raises(InferenceServerException):
        client.infer(NAME, [encoded([b"nothing"])])
    after, parts = ask(NAME), ("success", "queue", "compute_input", "compute_infer", "compute_output")
    assert after["inference_count"] == before["inference_count"] + 2
    was, now = before["inference_stats"], after["inference_stats"]
    for part in (*parts, "fail"):
        assert now[part]["count"] == was[part]["count"] + 1 and now[part]["ns"] > was[part]["ns"]
    assert now["success"]["ns"] >= sum(now[part]["ns"] for part in parts[1:]) / 2
    assert now["cache_hit"] == now["cache_miss"] == {"count": 0, "ns": 0}
    assert after["last_inference"] > before["last_inference"] > 0 or before["last_inference"] == 0
    assert after["execution_count"] == sum(batch["compute_infer"]["count"] for batch in after["batch_stats"])
    assert all(batch[part]["ns"] > 0 for batch in after["batch_stats"] for part in parts[2:])
    assert ask(f"{NAME}-pixels")["inference_stats"] == other["inference_stats"]
    client.infer(f"{NAME}-pixels", [pixels(squares)])
    assert ask(f"{NAME}-pixels")["inference_count"] == other["inference_count"] + 2
    assert ask(NAME)["inference_stats"] == now


# ---- inference


@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("binary_input", [True, False])
def test_encoded_images(
    client: triton.InferenceServerClient,
    files: list[bytes],
    expected: np.ndarray,
    binary_input: bool,
    binary_output: bool,
) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_output)]
    result = client.infer(NAME, [encoded(files, binary_input)], outputs=outputs, request_id="seven")
    close(result, expected)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("seven", NAME, "1")
    assert {**answer["parameters"], **COMPUTES} == answer["parameters"]


def test_the_outputs_of_views(
    client: triton.InferenceServerClient, squares: np.ndarray, files: list[bytes], classifier: Classifier
) -> None:
    mean, views = classifier.forward(squares)
    for binary in (True, False):  # each output has a form of its own
        outputs = [
            triton.InferRequestedOutput("view_probabilities", binary_data=binary),
            triton.InferRequestedOutput("probabilities", binary_data=not binary),
        ]
        result = client.infer(NAME, [encoded(files)], outputs=outputs)
        close(result, mean)
        np.testing.assert_allclose(result.as_numpy("view_probabilities"), views, rtol=0, atol=1e-5)
    outputs = [triton.InferRequestedOutput("view_probabilities", class_count=1)]
    told = client.infer(NAME, [encoded(files)], outputs=outputs).as_numpy("view_probabilities")
    assert told.shape == (2, 10, 1)
    places = [[int(text.decode().split(":")[1]) for text in row.ravel()] for row in told]
    assert places == views.argmax(axis=2).tolist()


@pytest.mark.parametrize("binary", [True, False])
def test_a_batch_of_bytes_as_triton_has_it(
    client: triton.InferenceServerClient, files: list[bytes], expected: np.ndarray, binary: bool
) -> None:
    """A Triton model with batches has elements of shape [1], so that its clients send [N,1]."""
    texts = files if binary else [base64.b64encode(data) for data in files]
    tensor = triton.InferInput("image", [len(files), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=np.object_)[:, None], binary_data=binary)
    close(client.infer(NAME, [tensor]), expected)


def test_a_timeout_in_microseconds_is_obeyed(
    client: triton.InferenceServerClient, files: list[bytes], expected: np.ndarray
) -> None:
    close(client.infer(NAME, [encoded(files)], timeout=60_000_000), expected)
    with pytest.raises(InferenceServerException, match="the request's timeout of 1 microseconds") as raised:
        client.infer(NAME, [encoded(files)], timeout=1)
    assert raised.value.status() == "504"
    close(client.infer(NAME, [encoded(files)]), expected)


def test_a_priority_is_refused(client: triton.InferenceServerClient, files: list[bytes]) -> None:
    with pytest.raises(InferenceServerException, match="priority 1: requests have no priorities") as raised:
        client.infer(NAME, [encoded(files)], priority=1)
    assert raised.value.status() == "400"


def test_pixels(client: triton.InferenceServerClient, squares: np.ndarray, expected: np.ndarray) -> None:
    close(client.infer(f"{NAME}-pixels", [pixels(squares)]), expected)
    close(client.infer(f"{NAME}-pixels", [pixels(squares[:1], binary=False)]), expected[:1])
    assert client.infer(f"{NAME}-pixels", [pixels(squares[:0])]).as_numpy("probabilities").shape == (0, 101)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_both_ways(
    client: triton.InferenceServerClient, squares: np.ndarray, expected: np.ndarray, coding: str
) -> None:
    compressed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    close(client.infer(f"{NAME}-pixels", [pixels(squares)], **compressed), expected)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", None),
        ("br, GZIP;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; Q=0.000", None),
        ("identity, deflate;q=1", "deflate"),
    ],
)
def test_an_encoding_that_the_client_takes(accepted: str, encoding: str | None) -> None:
    assert compress(b"body", accepted)[1] == encoding


@pytest.mark.parametrize("binary", [True, False])
def test_classification(
    client: triton.InferenceServerClient, files: list[bytes], expected: np.ndarray, classifier: Classifier, binary: bool
) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=5)]
    told = client.infer(NAME, [encoded(files)], outputs=outputs).as_numpy("probabilities")
    assert told.shape == (2, 5)
    for row, probabilities in zip(told, expected, strict=True):
        for text, index in zip(row, top_k(probabilities), strict=True):
            value, place, label = (text.decode() if binary else text).split(":")
            assert (int(place), label) == (index, classifier.contract.labels[index].name)
            assert abs(float(value) - probabilities[index]) < 1e-5


def test_a_raw_body_is_one_image(server: str, files: list[bytes], squares: np.ndarray, expected: np.ndarray) -> None:
    for name, body in ((NAME, files[0]), (f"{NAME}-pixels", squares[0].tobytes())):
        reply = httpx2.post(
            f"http://{server}/v2/models/{name}/infer", content=body, headers={"Inference-Header-Content-Length": "0"}
        )
        length = int(reply.headers["inference-header-content-length"])
        tensor = json.loads(reply.content[:length])["outputs"][0]
        assert (tensor["shape"], tensor["parameters"]["binary_data_size"]) == ([1, 101], 404)
        np.testing.assert_allclose(np.frombuffer(reply.content[length:], np.float32), expected[0], rtol=0, atol=1e-5)


def test_aio(server: str, files: list[bytes], expected: np.ndarray) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(server) as client:
            assert await client.is_model_ready(NAME)
            return await asyncio.gather(*(client.infer(NAME, [encoded([data])]) for data in files))

    for result, row in zip(asyncio.run(ask()), expected, strict=True):
        close(result, row[None])


def test_the_path_of_a_model_asks_for_a_name_alone(server: str) -> None:
    paths = httpx2.get(f"http://{server}/openapi.json").json()["paths"]
    asked = [
        [each["name"] for each in paths[f"/v2/models/{{name}}{end}"][method]["parameters"] if each["in"] == "path"]
        for end, method in ROUTES
    ]
    assert asked == [["name"]] * len(ROUTES)


def test_an_answer_is_compressed_in_a_thread(
    classifier: Classifier, squares: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other requests do not wait while an answer is compressed."""

    def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
        threads.append(threading.current_thread())
        return body, None

    threads: list[threading.Thread] = []
    monkeypatch.setattr("tencrop.server.oip.routes.compress", compress)
    with TestClient(create_app([classifier], Settings())) as client:
        headers = {"Inference-Header-Content-Length": "0"}
        assert (
            client.post(f"/v2/models/{NAME}-pixels/infer", content=squares[0].tobytes(), headers=headers).status_code
            == 200
        )
    assert [thread.name.partition("_")[0] for thread in threads] == ["decode"]


# ---- what is refused


def test_a_bad_image_is_an_error_of_the_protocol(client: triton.InferenceServerClient, files: list[bytes]) -> None:
    with pytest.raises(InferenceServerException, match="not an image of a known format") as raised:
        client.infer(NAME, [encoded([files[0], b"nothing"])])
    assert raised.value.status() == "415"
    assert client.infer(NAME, [encoded(files)])


def test_an_unknown_model_is_404(client: triton.InferenceServerClient, files: list[bytes]) -> None:
    assert not client.is_model_ready("other") and not client.is_model_ready(NAME, "2")
    with pytest.raises(InferenceServerException, match=f"'other' of version 1; served in version 1 are {NAME}"):
        client.infer("other", [encoded(files)])


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
SQUARE = {"name": "images", "datatype": "UINT8", "shape": [1, 256, 256, 3]}
BINARY = {"parameters": {"binary_data_size": 8}}
NEITHER: tuple[list[Any], ...] = ([{}] * 196608, [[{}]], [1, {}], [{}, "]"])  # numbers nor strings
NO_PIXELS: tuple[list[Any], ...] = (
    ["12"] * 196608,
    [1.0] * 196608,
    [None] * 196608,
    [-1] * 196608,
    ["", "x" * 200_000],
    [[], 1],
)


@pytest.mark.parametrize(
    ("model", "document", "rest", "why"),
    [
        (NAME, {}, b"", "inputs: field required"),
        (NAME, {"inputs": [{**IMAGE, "shape": ["x"]}]}, b"", "inputs.0.shape.0: input should be a valid integer"),
        (NAME, {"inputs": []}, b"", "inputs: list should have at least 1"),
        (NAME, {"inputs": [IMAGE]}, b"", "neither data nor binary_data_size"),
        (NAME, {"inputs": [{**IMAGE, "name": "x"}]}, b"", "input 'x' of BYTES"),
        (NAME, {"inputs": [{**IMAGE, "datatype": "UINT8"}]}, b"", "input 'image' of UINT8"),
        (NAME, {"inputs": [{**IMAGE, "shape": [1, 1]}]}, b"", "neither data nor binary_data_size"),
        (NAME, {"inputs": [{**IMAGE, "shape": [-1]}]}, b"", r"of shape \[-1\]"),
        (NAME, {"inputs": [{**IMAGE, "shape": [99999]}]}, b"", "99999 images; at most"),
        (NAME, {"inputs": [{**IMAGE, "data": ["ü"]}]}, b"", "base64"),
        (NAME, {"inputs": [{**IMAGE, "data": [7]}]}, b"", "base64"),
        (NAME, {"inputs": [{**IMAGE, "data": ["aaaa", "aaaa"]}]}, b"", "2 elements; the shape says 1"),
        (NAME, {"inputs": [{**IMAGE, "data": ["aaaa"]}]}, b"more", "that no tensor claims"),
        (NAME, {"inputs": [{**IMAGE, **BINARY}]}, b"1234567", "7 bytes follow"),
        (NAME, {"inputs": [{**IMAGE, **BINARY}]}, struct.pack("<I", 5) + b"1234", "cut off"),
        (NAME, {"inputs": [{**IMAGE, **BINARY}]}, struct.pack("<II", 0, 0), "more than 1 elements"),
        (NAME, {"inputs": [IMAGE], "outputs": [{"name": "logits"}]}, b"", "output 'logits'"),
        (
            NAME,
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities"}] * 2},
            b"",
            "'probabilities' is asked for twice",
        ),
        (NAME, {"inputs": [{**IMAGE, "shape": [1, 2]}]}, b"", r"of shape \[1, 2\]"),
        (NAME, {"inputs": [IMAGE], "parameters": {"timeout": -1}}, b"", "timeout: not a whole number"),
        (NAME, {"inputs": [IMAGE], "parameters": {"timeout": 10**400}}, b"", "timeout: not a whole number"),
        (NAME, {"inputs": [IMAGE], "parameters": {"priority": "high"}}, b"", "priority: not a whole number"),
        (
            NAME,
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            b"",
            "classification",
        ),
        (
            NAME,
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities", "parameters": {"classification": True}}]},
            b"",
            "classification",
        ),
        (
            NAME,
            {"inputs": [IMAGE], "outputs": [{"name": "probabilities", "parameters": {"binary_data": "false"}}]},
            b"",
            "binary_data and binary_data_output: expected true or false",
        ),
        (NAME, {"inputs": [IMAGE], "parameters": {"binary_data_output": 1}}, b"", "expected true or false"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": [1, 2, 3]}]}, b"", "expected 196608 whole numbers"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": [256] * 196608}]}, b"", "from 0 to 255"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": [[1], [1, 2]]}]}, b"", "expected 196608"),
        *(
            (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": data}]}, b"", "expected 196608 whole numbers")
            for data in NO_PIXELS
        ),
        *(
            (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": data}]}, b"", "data: expected numbers, or strings")
            for data in NEITHER
        ),
        (NAME, {"inputs": [{**IMAGE, "data": [{"a": 1}]}]}, b"", "data: expected numbers, or strings"),
        (NAME, {"inputs": [{**IMAGE, "data": [["aaaa"]]}]}, b"", "base64"),
        (NAME, {"inputs": [{**IMAGE, "data": ["aaaa", 7]}]}, b"", "base64"),
        (NAME, {"inputs": [{**IMAGE, "data": {"a": []}}]}, b"", "data: input should be"),
        (NAME, {"inputs": [{**IMAGE, "data": None}]}, b"", "neither data nor"),
        (NAME, {"data": ["aaaa"], "inputs": [IMAGE]}, b"", "neither data nor"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, "data": [1.0] * 196607 + [-1]}]}, b"", "from 0 to 255"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, **BINARY}]}, b"12345678", "8 bytes; a tensor of shape"),
        (f"{NAME}-pixels", {"inputs": [{**SQUARE, "shape": [1, 9, 9, 3]}]}, b"", "of shape"),
    ],
)
def test_a_request_that_does_not_fit_is_one_line(
    server: str, model: str, document: dict[str, Any], rest: bytes, why: str
) -> None:
    text = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    reply = httpx2.post(f"http://{server}/v2/models/{model}/infer", content=text + rest, headers=headers)
    assert reply.status_code in (400, 413), reply.text
    with pytest.raises(ValueError, match=why):
        raise ValueError(reply.json()["error"])


def test_raw_pixels_of_more_images_than_the_queue_holds_are_413(server: str) -> None:
    squares = bytes(65 * 196608)
    headers = {"Inference-Header-Content-Length": "0"}
    reply = httpx2.post(f"http://{server}/v2/models/{NAME}-pixels/infer", content=squares, headers=headers)
    assert reply.status_code == 413 and reply.json()["error"] == "65 images; at most 64 in a request"


def test_json_has_a_bound_of_its_own(server: str) -> None:
    reply = httpx2.post(f"http://{server}/v2/models/{NAME}/infer", content=bytes(MAX_JSON + 1))
    assert reply.status_code == 413 and f"at most {MAX_JSON}" in reply.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "9999999999", "99999999999999999999", "²"])
def test_a_header_that_is_not_a_length_is_400(server: str, length: str) -> None:
    reply = httpx2.post(
        f"http://{server}/v2/models/{NAME}/infer",
        content=b"{}",
        headers={b"Inference-Header-Content-Length": length.encode()},
    )
    assert (reply.status_code, list(reply.json())) == (400, ["error"])


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"x" * 1000)[:-9], 400),
        ("br", b"x", 415),
        ("gzip", gzip.compress(bytes(40 << 20)), 413),  # 40 kB that become 40 MiB
    ],
    ids=["no gzip", "truncated", "brotli", "40 MiB in 40 kB"],  # gzip writes the time: each process would name its own
)
def test_a_coding_that_cannot_be_undone_is_refused(server: str, coding: str, body: bytes, status: int) -> None:
    reply = httpx2.post(f"http://{server}/v2/models/{NAME}/infer", content=body, headers={"Content-Encoding": coding})
    assert reply.status_code == status and isinstance(reply.json()["error"], str)
