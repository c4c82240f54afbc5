"""The shadow: compared in spare time alone, counted, labelled later; and what its routes and its page say."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tencrop.images.decode import decode
from tencrop.model.contract import Contract, Label
from tencrop.model.metrics import wilson_interval
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.ensemble import Predictor
from tencrop.server import shadow as shadow_file
from tencrop.server.app import create_app
from tencrop.server.errors import ApiError
from tencrop.server.feedback_store import FeedbackStore
from tencrop.server.kept_squares import KeptSquares
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.metrics import Metrics
from tencrop.server.open_shadow import OpenShadow
from tencrop.server.requester import Requester, number_request
from tencrop.server.settings import Settings
from tencrop.server.shadow import WAITING, Shadow
from tencrop.server.shadow_schemas import NewFeedback

KEY = generate_key()
LABELS = tuple(Label(letter, f"letter {letter}") for letter in "abc")
TURNED = Contract(labels=tuple(reversed(LABELS)))  # the same classes in another order
FAILS, SILENT = 98, 99  # first pixels of squares to which the fake shadow has no answer


class Fake:
    """A shadow that answers the class whose index in its own contract is a square's first pixel."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.seen = contract, list[int]()

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = int(images[0, 0, 0, 0])
        self.seen.append(first)
        if first == FAILS:
            raise RuntimeError("engine broke")
        mean = np.full((1, len(self.contract.labels)), np.nan if first == SILENT else 0, np.float32)
        mean[0, first % mean.shape[1]] += 1
        return mean, np.repeat(mean[:, None], 10, 1)


def until(condition: Callable[[], Any]) -> None:
    due = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < due, "waited 10 s in vain"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_file, "REST", 0.0)


class Running:
    """A shadow of a model with the classes a, b, c; `admitted` images of requests hold it back."""

    def __init__(self, folder: Path | None = None, contract: Contract = TURNED) -> None:
        self.admitted, self.looks, self.fake = 0, 0, Fake(contract)
        feedback = FeedbackStore(folder / "feedback.sqlite") if folder else None
        squares = KeptSquares(folder, 2) if folder else None
        opened = OpenShadow("old", cast(Predictor, cast(Any, self.fake)), feedback, squares)
        self.shadow = Shadow(opened, "new", Contract(labels=LABELS), self.count, Metrics())

    def count(self) -> int:
        self.looks += 1
        return self.admitted

    def offer(self, *pairs: tuple[int, int], request: int = 0) -> None:
        """Offer squares by pairs: the model's index, and the square's first pixel."""
        squares = np.stack([np.full((4, 4, 3), pixel, np.uint8) for _, pixel in pairs])
        rows = np.eye(3, dtype=np.float32)[[index for index, _ in pairs]]
        self.shadow.offer([Requester("anybody", request)] * len(pairs), squares, rows)

    def counts(self) -> tuple[int, int, int, int]:
        found = self.shadow.describe()
        return found.compared, found.disagreements, found.dropped, found.waiting


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.shadow.close()


def test_answers_are_compared_by_the_ids_of_their_labels(running: Running) -> None:
    before = running.shadow.describe()
    assert (before.disagreement, before.interval) == (None, None)
    running.offer((0, 2), (1, 1), (2, 0), (0, 0))  # the last: a of the model, c of the shadow
    until(lambda: running.counts()[0] == 4)
    found = running.shadow.describe()
    assert (found.disagreements, found.dropped, found.waiting) == (1, 0, 0)
    assert found.disagreement == 1 / 4 and found.interval == pytest.approx(wilson_interval(1 / 4, 4))


def test_no_forward_pass_begins_while_an_image_is_admitted(running: Running) -> None:
    running.admitted = 1
    running.offer((0, 2))
    until(lambda: running.looks >= 3)
    assert running.fake.seen == [] and running.counts() == (0, 0, 0, 1)
    running.admitted = 0
    until(lambda: running.counts() == (1, 0, 0, 0))


def test_a_full_queue_drops_its_oldest_squares(running: Running) -> None:
    running.admitted = 1
    for pixel in range(WAITING + 3):
        running.offer((0, pixel))
    assert running.counts() == (0, 0, 3, WAITING)
    running.admitted = 0
    until(lambda: running.counts()[3] == 0)
    until(lambda: len(running.fake.seen) == WAITING)
    assert running.fake.seen == list(range(3, WAITING + 3))


def test_a_square_is_a_copy_and_an_answer_that_is_no_number_is_not_offered(running: Running) -> None:
    running.admitted = 1
    squares = np.full((4, 4, 4, 3), 1, np.uint8)  # two of a batch and its padding
    rows = np.array([[np.nan, 0, 0], [0, 1, 0]], np.float32)
    running.shadow.offer([Requester("anybody", 0)] * 2, squares, rows)
    squares[:] = 2
    running.admitted = 0
    until(lambda: running.counts() == (1, 0, 0, 0))
    assert running.fake.seen == [1]


def test_a_shadow_that_fails_or_has_no_answer_goes_on(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    running.offer((0, FAILS), (0, SILENT), (0, 2))
    until(lambda: running.counts() == (1, 0, 2, 0))
    assert "engine broke" in caplog.text


def test_the_end_waits_neither_for_squares_nor_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_file, "REST", 1e12)
    running = Running()
    running.offer((0, 2), (0, 2))
    until(lambda: running.counts()[0] == 1)
    closing = threading.Thread(target=running.shadow.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive() and running.counts() == (1, 0, 0, 1) and len(running.fake.seen) == 1


def test_an_end_while_requests_keep_the_shadow_waiting_is_at_once() -> None:
    running = Running()
    running.admitted = 1
    running.offer((0, 2))
    until(lambda: running.looks >= 2)
    running.shadow.close()
    assert running.fake.seen == []


def test_labels_count_who_was_right(running: Running) -> None:
    for name, pixel in (("both", 2), ("model", 1), ("shadow", 1), ("neither", 1), ("model-again", 0)):
        running.offer((0, pixel), request=number_request(name))
    running.offer((0, 2), request=7)  # of several images
    until(lambda: running.counts()[0] == 6)
    for name, label in (("both", "a"), ("model", "a"), ("shadow", "b"), ("neither", "c"), ("model-again", "b")):
        running.shadow.give_label(NewFeedback(request=name, label=label))
    answer = running.shadow.give_label(NewFeedback(request="model-again", label="a"))  # in place of b
    assert (answer.label, answer.model, answer.shadow) == ("a", "a", "c")
    right = running.shadow.describe().right
    assert right and tuple(right.model_dump().values()) == (1, 2, 1, 1)
    with pytest.raises(ApiError, match="no comparison") as refused:
        running.shadow.give_label(NewFeedback(request="unheard-of", label="a"))
    assert refused.value.status_code == 404


def test_a_disk_that_takes_nothing_more_stops_no_comparison(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeptSquares, "keep", full)
    running.offer((0, 0), (0, 2))
    until(lambda: running.counts()[0] == 2)
    assert "No space left" in caplog.text


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"anna {hash_key(KEY)}\n")
    return file


def open_client(classifier: Classifier, keys: Path, **settings: Any) -> TestClient:
    """A client of the embedded model and a shadow that answers by the first pixel of a square."""
    fake = Fake(classifier.contract)
    folder = keys.parent
    opened = OpenShadow(
        "old",
        cast(Predictor, cast(Any, fake)),
        FeedbackStore(folder / "feedback.sqlite") if settings.get("feedback") else None,
        KeptSquares(folder, 2),
    )
    app = create_app([classifier], Settings(api_key_file=keys, **settings), shadow=opened)
    return TestClient(app, headers={"X-API-Key": KEY})


def read_samples(client: TestClient) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples if "shadow" in sample.labels}


def test_routes_metrics_and_page_tell_what_was_compared(
    classifier: Classifier, photographs: dict[str, Path], keys: Path
) -> None:
    china = photographs["china"].read_bytes()
    square = decode(china, classifier.contract)[0]
    labels = classifier.contract.labels
    with open_client(classifier, keys, feedback=True, root_path="/nets") as client:
        assert read_samples(client)["tencrop_shadow_compared_total"] == 0
        best = client.post("/v1/predict", content=china, headers={"X-Request-Id": "one"}).json()["top"][0]
        shadow = labels[int(square[0, 0, 0]) % len(labels)]
        assert shadow.id != best["id"]
        until(lambda: client.get("/v1/shadow").json()["compared"] == 1)
        client.post("/v1/predict/batch", files=[("images", china)] * 2, headers={"X-Request-Id": "two"})
        until(lambda: client.get("/v1/shadow").json()["compared"] == 3)
        samples = read_samples(client)
        assert {name: samples[f"tencrop_shadow_{name}_total"] for name in ("compared", "disagreements", "dropped")} == {
            "compared": 3,
            "disagreements": 3,
            "dropped": 0,
        }
        for label in (best["label"], shadow.id):  # by name, then by id in its place
            reply = client.post("/v1/feedback", json={"request": "one", "label": label})
            assert reply.status_code == 200, reply.text
        assert reply.json() == {"request": "one", "label": shadow.id, "model": best["id"], "shadow": shadow.id}
        found = client.get("/v1/shadow").json()
        assert found["right"] == {"both": 0, "only_model": 0, "only_shadow": 1, "neither": 0}
        for given, status in (
            ({"request": "two", "label": shadow.id}, 404),
            ({"request": "one", "label": "unheard-of"}, 422),
            ({"request": "a b", "label": shadow.id}, 422),
            ({"request": "one", "label": shadow.id, "more": 1}, 422),
        ):
            assert client.post("/v1/feedback", json=given).status_code == status
        assert "pattern '^[A-Za-z0-9_.:-]" in client.post("/v1/feedback", json={"request": "a b", "label": "c"}).text
        bare = TestClient(client.app)
        assert bare.post("/v1/feedback", json={}).status_code == bare.get("/v1/shadow").status_code == 401
        page = bare.get("/shadow").text
        low, high = wilson_interval(1.0, 3)
        assert "100.00%" in page and f"{low:.2%} to {high:.2%}" in page and '"/nets/page/page.css"' in page
        assert "caltech101</strong> answers" in page
    kept = sorted(keys.parent.glob("*.png"))
    assert len(kept) == 2  # of three
    with Image.open(io.BytesIO(kept[0].read_bytes())) as image:
        assert np.array_equal(np.asarray(image), square)
        assert (image.text["model"], image.text["shadow"]) == (best["id"], shadow.id)  # type: ignore[attr-defined]


def test_what_is_off_says_so(classifier: Classifier, keys: Path) -> None:
    with open_client(classifier, keys) as client:
        label = classifier.contract.labels[0].id
        refused = client.post("/v1/feedback", json={"request": "one", "label": label})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "feedback_off")
        assert (
            client.get("/v1/shadow").json()["right"] is None and "nothing is compared yet" in client.get("/shadow").text
        )
    with TestClient(create_app([classifier], Settings())) as client:
        for path in ("/v1/shadow", "/shadow"):
            assert client.get(path).json()["error"]["code"] == "shadow_off"
