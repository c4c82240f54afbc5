"""POST /v1/predict and its neighbours, through the whole application: answers, error objects, never a 500."""

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tencrop.images.decode import ImageInfo, decode
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

FORM = b'--B\r\nContent-Disposition: form-data; name="imag\xc3\xa9"; filename="x"\r\n\r\nx\r\n--B--\r\n'


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(
        create_app([classifier], Settings(max_body_bytes=2_000_000)), raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture(scope="module")
def jpeg(photographs: dict[str, Path]) -> bytes:
    return photographs["china"].read_bytes()


def encoded(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    packed = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(packed, kind)
    return packed.getvalue()


def test_form_upload_gets_five_labels(client: TestClient, jpeg: bytes) -> None:
    reply = client.post("/v1/predict", files={"image": ("photo.jpg", jpeg)})
    answer = reply.json()
    assert reply.status_code == 200
    assert (answer["model"], answer["engine"], answer["device"], answer["precision"]) == (
        "caltech101",
        "openvino",
        "cpu",
        "fp32",
    )
    assert answer["input"] == {"format": "JPEG", "mode": "RGB", "width": 640, "height": 427, "exif_rotated": False}
    probabilities = [guess["probability"] for guess in answer["top"]]
    assert len(probabilities) == 5 and probabilities == sorted(probabilities, reverse=True)
    assert set(answer["timing_ms"]) == {"decode", "queue", "engine"} and "views" not in answer


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream", ""]
)
def test_any_body_is_taken_as_the_image(kind: str, client: TestClient, jpeg: bytes) -> None:
    raw = client.post("/v1/predict", content=jpeg, headers={"content-type": kind})
    form = client.post("/v1/predict", files={"image": ("x", jpeg, "text/html")})
    assert raw.status_code == 200 and raw.json()["top"] == form.json()["top"]


def test_top_sets_the_number_of_labels(client: TestClient, jpeg: bytes) -> None:
    assert len(client.post("/v1/predict?top=1", content=jpeg).json()["top"]) == 1
    everything = client.post("/v1/predict?top=1000", content=jpeg).json()["top"]
    assert len(everything) == 101 and abs(sum(guess["probability"] for guess in everything) - 1) < 1e-4


def test_an_answer_that_is_not_a_number_is_422(
    jpeg: bytes, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the answer of a net that divides by the contrast of an image without contrast."""
    answers = np.full((1, 101), np.nan, np.float32), np.full((1, 10, 101), np.nan, np.float32)
    with TestClient(create_app([classifier], Settings())) as client:
        monkeypatch.setattr(Classifier, "forward", lambda *_: answers)
        reply = client.post("/v1/predict", content=jpeg)
        batch = client.post("/v1/predict/batch", files=[("images", jpeg), ("images", b"no image")])
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "no_answer")
    codes = [result["error"]["code"] for result in batch.json()["results"]]
    assert (batch.status_code, codes) == (200, ["no_answer", "unsupported_format"])


def test_views_give_ten_answers_whose_mean_is_the_prediction(
    client: TestClient, jpeg: bytes, classifier: Classifier
) -> None:
    answer = client.post("/v1/predict?views=true", content=jpeg).json()
    views = answer["views"]
    assert answer["agreement"] == [view["index"] for view in views].count(answer["top"][0]["index"]) < 10
    (batched,) = client.post("/v1/predict/batch", files=[("images", jpeg)]).json()["results"]
    assert batched["agreement"] == answer["agreement"]
    corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    assert [(v["top"], v["left"], v["mirrored"], v["size"]) for v in views] == [
        (t, le, m, 224) for m in (False, True) for t, le in corners
    ]
    assert all(0 < view["probability"] <= 1 for view in views)
    labels = classifier.contract.labels
    assert all((view["id"], view["label"]) == (labels[view["index"]].id, labels[view["index"]].name) for view in views)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_answered(kind: str, client: TestClient) -> None:
    reply = client.post("/v1/predict", content=encoded(np.zeros((30, 40, 3), np.uint8), kind))
    assert reply.status_code == 200 and reply.json()["input"]["format"] == kind


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/predict", b"no image at all", {}, 415, "unsupported_format"),
        ("/v1/predict", b"", {}, 400, "damaged_image"),
        ("/v1/predict", b'{"image": 1}', {"content-type": "application/json"}, 415, "unsupported_format"),
        ("/v1/predict", b"x", {"content-type": "multipart/form-data"}, 400, "bad_request"),
        ("/v1/predict", b"x", {"content-type": "multipart/form-data; boundary=a"}, 400, "bad_request"),
        ("/v1/predict", FORM, {"content-type": "multipart/form-data; boundary=B"}, 422, "bad_parameter"),
        ("/v1/predict?top=0", b"x", {}, 422, "bad_parameter"),
        ("/v1/predict?top=many", b"x", {}, 422, "bad_parameter"),
        ("/v1/predict?top=1&top=0", b"x", {}, 422, "bad_parameter"),  # the last one counts
        ("/v1/predict?views=perhaps", b"x", {}, 422, "bad_parameter"),
        ("/v1/predict?model=other", b"x", {}, 422, "unknown_model"),
        ("/v1/predict", bytes(2_000_001), {}, 413, "body_too_large"),
        ("/v1/elsewhere", b"x", {}, 404, "not_found"),
    ],
)
def test_bad_request_is_an_error_object(
    path: str, body: bytes, headers: dict[str, str], status: int, code: str, client: TestClient
) -> None:
    reply = client.post(path, content=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), reply.text
    assert reply.json()["error"]["message"]


def test_truncated_image_is_400(client: TestClient, jpeg: bytes) -> None:
    reply = client.post("/v1/predict", content=jpeg[: len(jpeg) // 2])
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "damaged_image")


def test_too_many_pixels_are_413(client: TestClient) -> None:
    reply = client.post("/v1/predict", content=encoded(np.zeros((8200, 8200), np.uint8)))
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "image_too_large")


@pytest.mark.parametrize("form", [{"photo": b"x"}, {"image": b""}])
def test_form_without_an_image_is_refused(form: dict[str, bytes], client: TestClient) -> None:
    assert client.post("/v1/predict", files=form).status_code in (400, 422)


def test_a_file_of_a_form_never_goes_to_a_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled: list[object] = []
    monkeypatch.setattr(SpooledTemporaryFile, "rollover", lambda self: rolled.append(self))
    large = encoded(np.random.default_rng(1).integers(0, 256, (750, 800, 3), np.uint8))
    assert len(large) > 1 << 20  # Starlette's own parser would write such a file to a disk
    assert client.post("/v1/predict", files={"image": large}).status_code == 200
    assert rolled == []


def test_form_with_text_for_an_image_is_refused(client: TestClient) -> None:
    reply = client.post("/v1/predict", files={"other": b"x"}, data={"image": "photo.jpg"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_parameter")


def test_two_images_are_refused(client: TestClient, jpeg: bytes) -> None:
    reply = client.post("/v1/predict", files=[("image", jpeg), ("image", jpeg)])
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_parameter")


def test_more_images_than_places_are_429(classifier: Classifier, jpeg: bytes) -> None:
    with TestClient(create_app([classifier], Settings(queue_views=10))) as client:
        admission = client.app.state.server_state.pipelines["caltech101"].admission  # type: ignore[attr-defined]
        with admission.admit("other"):
            reply = client.post("/v1/predict", content=jpeg)
        assert (reply.status_code, reply.json()["error"]["code"], reply.headers["retry-after"]) == (
            429,
            "queue_full",
            "1",
        )
        assert client.post("/v1/predict", content=jpeg).status_code == 200


def test_a_batch_takes_a_place_for_each_image(classifier: Classifier, jpeg: bytes) -> None:
    with TestClient(create_app([classifier], Settings(queue_views=30))) as client:
        admission = client.app.state.server_state.pipelines["caltech101"].admission  # type: ignore[attr-defined]
        three = [("images", jpeg)] * 3
        with admission.admit("other"):
            reply = client.post("/v1/predict/batch", files=three)
            assert (reply.status_code, reply.json()["error"]["code"], reply.headers["retry-after"]) == (
                429,
                "queue_full",
                "1",
            )
            assert client.post("/v1/predict", content=jpeg).status_code == 200
        assert len(client.post("/v1/predict/batch", files=three).json()["results"]) == 3
        assert client.post("/v1/predict/batch", files=[*three, three[0]]).status_code == 422
        assert admission.count_admitted() == 0


def test_failure_of_the_server_is_an_error_object(
    classifier: Classifier, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app([classifier], Settings()), raise_server_exceptions=False) as client:
        monkeypatch.setattr(Classifier, "forward", lambda *_: 1 / 0)
        reply = client.post("/v1/predict", content=jpeg)
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")


def test_wrong_method_is_an_error_object(client: TestClient) -> None:
    assert client.get("/v1/predict").json()["error"]["code"] == "method_not_allowed"


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    found = client.get("/readyz").json()
    wanted = {"name": "caltech101", "engine": "openvino", "device": "cpu", "precision": "fp32"}
    assert found["status"] == "ready" and [{**model, **wanted} for model in found["models"]] == found["models"]


def test_draining_server_is_not_ready_and_takes_nothing_new(classifier: Classifier, jpeg: bytes) -> None:
    with TestClient(create_app([classifier], Settings())) as client:
        client.app.state.server_state.draining = True  # type: ignore[attr-defined]
        assert client.get("/healthz").status_code == 200
        for reply in (client.get("/readyz"), client.post("/v1/predict", content=jpeg)):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "shutting_down")


def test_answer_that_takes_too_long_is_504(classifier: Classifier, jpeg: bytes) -> None:
    with TestClient(create_app([classifier], Settings(deadline_seconds=1e-6))) as client:
        reply = client.post("/v1/predict", content=jpeg)
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline")


def test_page_and_its_assets_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html") and "/page/page.js" in page.text
    assert client.get("/page/page.js").status_code == client.get("/page/page.css").status_code == 200
    assert client.get("/page/kernels.png").content.startswith(b"\x89PNG")
    assert client.get("/page/secret.txt").status_code == client.get("/page/..%2fapp.py").status_code == 404
    assert client.get("/page/examples/../../app.py").status_code == client.get("/page/examples").status_code == 404


def test_large_images_leave_a_decoder_to_the_others(
    classifier: Classifier, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large images, more than there are decoders, take for ever here."""
    began, gate, large = threading.Event(), threading.Event(), encoded(np.zeros((2900, 2900), np.uint8))

    def held(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
        if data == large:
            began.set()
            gate.wait(30)
        return decode(data, contract)

    monkeypatch.setattr("tencrop.server.decode_pool.decode", held)
    with TestClient(create_app([classifier], Settings())) as client, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(client.post, "/v1/predict", content=large) for _ in range(4)]
        try:
            assert began.wait(10)
            assert client.post("/v1/predict", content=jpeg).status_code == 200
            assert not any(each.done() for each in waiting)
        finally:
            gate.set()
        assert [each.result().status_code for each in waiting] == [200] * 4
