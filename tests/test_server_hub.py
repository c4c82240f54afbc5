"""/v1/image-classification and / by the hub's clients, and /v1/predict/batch, through real connections."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from serving import run_server
from support.registries import install_from_npm

from tencrop.images.decode import decode
from tencrop.model.metrics import top_k
from tencrop.runtime.classifier import Classifier

HUGGINGFACE_JS = "@huggingface/inference@4.13.30"
SCRIPT = """\
import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

const [url, photograph] = process.argv.slice(2);
const client = new InferenceClient("none", { endpointUrl: url });
console.log(JSON.stringify(await client.imageClassification({ data: new Blob([readFileSync(photograph)]) })));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a process that serves the embedded model in fp32."""
    with run_server("--precision", "fp32") as (_, url):
        yield url


@pytest.fixture(scope="module")
def china(photographs: dict[str, Path]) -> bytes:
    return photographs["china"].read_bytes()


@pytest.fixture(scope="module")
def expected(china: bytes, classifier: Classifier) -> list[tuple[str, float]]:
    """The five labels and their probabilities."""
    probabilities = classifier.forward(decode(china, classifier.contract)[0][None])[0][0]
    return [(classifier.contract.labels[i].name, float(probabilities[i])) for i in top_k(probabilities)]


@pytest.mark.parametrize("path", ["/v1/image-classification", "", "/"])
@pytest.mark.parametrize("top_k", [None, 3])
def test_the_hubs_client_gets_labels_and_scores(
    server: str, china: bytes, expected: list[tuple[str, float]], top_k: int | None, path: str
) -> None:
    """The client sends raw bytes without a parameter, and JSON with base64 with one."""
    client = InferenceClient(model=server + path, token="none")
    guesses = client.image_classification(china, top_k=top_k)
    wanted = expected[:top_k]
    assert [guess.label for guess in guesses] == [label for label, _ in wanted]
    np.testing.assert_allclose([guess.score for guess in guesses], [p for _, p in wanted], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_huggingface_js_gets_labels_and_scores_at_the_root(
    server: str, photographs: dict[str, Path], expected: list[tuple[str, float]], tmp_path: Path
) -> None:
    install_from_npm(tmp_path, HUGGINGFACE_JS)
    (tmp_path / "ask.mjs").write_text(SCRIPT)
    command = ["node", "ask.mjs", server, str(photographs["china"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    guesses = json.loads(done.stdout)
    assert [guess["label"] for guess in guesses] == [label for label, _ in expected]
    np.testing.assert_allclose([guess["score"] for guess in guesses], [p for _, p in expected], rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", ["/v1/image-classification", ""])
def test_the_hubs_client_gets_errors(server: str, path: str) -> None:
    client = InferenceClient(model=server + path, token="none")
    with pytest.raises(HfHubHTTPError, match="415"):
        client.image_classification(b"no image")
    with pytest.raises(HfHubHTTPError, match="422"):
        client.image_classification(b"x", function_to_apply="sigmoid")


@pytest.mark.parametrize(
    ("body", "status", "what"),
    [
        (b"{", 422, "JSON"),
        (b"[]", 422, "object"),
        (b'{"inputs": 7}', 422, "inputs"),
        (b'{"inputs": "***"}', 422, "base64"),
        (b'{"inputs": "\xc3\xbc"}', 422, "base64"),
        (b'{"inputs": ""}', 400, "empty"),
        (b'{"inputs": "eA==", "parameters": {"top_k": 0}}', 422, "top_k"),
        (b'{"inputs": "eA=="}', 415, "known format"),
    ],
)
def test_json_that_does_not_fit_is_an_error_object(server: str, body: bytes, status: int, what: str) -> None:
    reply = httpx2.post(f"{server}/v1/image-classification", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status and what in reply.json()["error"]["message"], reply.text


def test_the_root_is_still_the_page(server: str) -> None:
    assert httpx2.get(server).headers["content-type"].startswith("text/html")
    assert httpx2.put(server).headers["allow"] == "GET, HEAD, POST"


def test_a_form_is_taken_too(server: str, china: bytes, expected: list[tuple[str, float]]) -> None:
    reply = httpx2.post(f"{server}/v1/image-classification", files={"image": china})
    assert reply.headers["x-tencrop-engine"] == "openvino; cpu; fp32"
    answer = httpx2.post(f"{server}/v1/predict", content=china).json()
    assert reply.headers["x-tencrop-agreement"] == str(answer["agreement"])
    assert [guess["label"] for guess in reply.json()] == [label for label, _ in expected]


def test_a_batch_is_answered_in_order_with_errors_in_their_places(
    server: str, china: bytes, photographs: dict[str, Path]
) -> None:
    flower = photographs["flower"].read_bytes()
    sent = [china, b"nothing", flower, b"", china[:5000], china]
    reply = httpx2.post(f"{server}/v1/predict/batch?top=2", files=[("images", data) for data in sent])
    results = reply.json()["results"]
    assert reply.status_code == 200 and len(results) == len(sent)
    codes = [result.get("error", {}).get("code") for result in results]
    assert codes == [None, "unsupported_format", None, "damaged_image", "damaged_image", None]
    alone = [httpx2.post(f"{server}/v1/predict?top=2", content=data).json()["top"] for data in (china, flower)]
    for place, wanted in ((0, alone[0]), (2, alone[1]), (5, alone[0])):
        assert [guess["index"] for guess in results[place]["top"]] == [guess["index"] for guess in wanted]
        for guess, other in zip(results[place]["top"], wanted, strict=True):
            assert abs(guess["probability"] - other["probability"]) < 1e-5


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"files": {"image": b"x"}}, 422),
        ({"content": b"x"}, 415),
        ({"files": {"images": b"x"}, "params": {"top": 0}}, 422),
    ],
)
def test_a_body_that_is_not_a_batch_is_refused(server: str, form: dict[str, object], status: int) -> None:
    reply = httpx2.post(f"{server}/v1/predict/batch", **form)  # type: ignore[arg-type]
    assert reply.status_code == status and reply.json()["error"]["message"]


def test_a_batch_larger_than_the_queue_is_refused_as_a_whole(server: str) -> None:
    reply = httpx2.post(f"{server}/v1/predict/batch", files=[("images", b"x")] * 300)
    assert reply.status_code in (400, 422) and reply.json()["error"]["message"]


def test_the_urls_alphabet_and_missing_padding_are_base64_too(server: str) -> None:
    reply = httpx2.post(f"{server}/v1/image-classification", json={"inputs": "_-4"})
    assert reply.status_code == 415, reply.text


def test_base64_of_a_whole_photograph(server: str, china: bytes, expected: list[tuple[str, float]]) -> None:
    body = {"inputs": base64.b64encode(china).decode(), "parameters": {"top_k": 1}}
    assert httpx2.post(f"{server}/v1/image-classification", json=body).json()[0]["label"] == expected[0][0]
