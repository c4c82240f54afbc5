"""runtime/classifier.py: a model is served by the first engine that reproduces its probe, and each failure is told."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_png
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine import Engine, open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions
from tencrop.runtime.nvidia_driver import NoGpu

FILE = EMBEDDED / "tencrop.onnx"
FP32 = EngineOptions("cpu", "auto", "fp32")


def test_model_that_misses_its_probe_is_not_served(tmp_path: Path) -> None:
    model = onnx.load(FILE)
    for entry in model.metadata_props:
        if entry.key == "tencrop.probe":
            entry.value = '{"seed": 0, "classes": [100], "probabilities": [0.99]}'
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(WorkFailed, match="fails the model's probe"):
        open_classifier(tmp_path / "changed.onnx", FP32)


def break_devices(monkeypatch: pytest.MonkeyPatch, failures: dict[str, WorkFailed]) -> None:
    """Make engines on these devices fail with these errors."""

    def opened(graph: bytes, choice: EngineChoice) -> Engine:
        if choice.device in failures:
            raise failures[choice.device]
        return open_engine(graph, choice)

    monkeypatch.setattr("tencrop.runtime.classifier.open_engine", opened)


def test_where_no_engine_works_every_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    break_devices(monkeypatch, {"cuda:0": WorkFailed("no libcudnn"), "cpu": WorkFailed("no memory")})
    with pytest.raises(WorkFailed, match=r"^no libcudnn; no memory$"):  # once each; either device has two choices
        open_classifier(FILE, EngineOptions())


def test_a_failing_gpu_is_not_skipped_silently(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_devices(monkeypatch, {"cuda:0": WorkFailed("no libcudnn")})
    assert open_classifier(FILE, EngineOptions()).engine.device == "cpu"
    assert caplog.messages == ["caltech101: openvino on cpu runs it, because no libcudnn"]


def test_a_machine_without_a_gpu_needs_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_devices(monkeypatch, {"cuda:0": NoGpu("no NVIDIA driver")})
    assert open_classifier(FILE, EngineOptions()).engine.device == "cpu"
    assert not caplog.messages


def test_default_precision_answers_like_fp32(classifier: Classifier) -> None:
    default = open_classifier(FILE, EngineOptions("cpu"))
    pixels = decode(formula_png(7), classifier.file.metadata.contract)[0][None]
    assert np.abs(default.forward(pixels)[0] - classifier.forward(pixels)[0]).max() < 2e-2


class Meeting:
    """An engine whose forward passes end only when as many as it has streams have begun."""

    name, device, precision = "meeting", "cpu", "fp32"
    forward_images: int | None = None

    def __init__(self, streams: int) -> None:
        self.streams, self.running, self.most, self.closed = streams, 0, 0, False
        self.all_here, self.count, self.began = threading.Barrier(streams), threading.Lock(), threading.Event()

    def run(self, batch: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        assert not self.closed
        with self.count:
            self.running += 1
            self.most = max(self.most, self.running)
        self.began.set()
        self.all_here.wait(30)
        with self.count:
            self.running -= 1
        return {"probabilities": batch[:, 0, 0], "view_probabilities": batch[:, :10, 0]}

    def close(self) -> None:
        assert not self.running
        self.closed = True


@pytest.mark.parametrize("streams", [1, 3])
def test_as_many_forward_passes_run_at_once_as_there_are_streams(classifier: Classifier, streams: int) -> None:
    engine = Meeting(streams)
    batches = [np.full((1, 256, 256, 3), number, np.uint8) for number in range(12)]
    with Classifier(classifier.file, engine) as meeting, ThreadPoolExecutor(12) as callers:
        answers = [answer[0].max() for answer, _ in callers.map(meeting.forward, batches)]
    assert answers == list(range(12)) and engine.most == streams and engine.closed


def test_closing_waits_for_the_forward_passes_under_way(classifier: Classifier) -> None:
    meeting = Classifier(classifier.file, engine := Meeting(2))
    image = np.zeros((1, 256, 256, 3), np.uint8)
    with ThreadPoolExecutor(3) as callers:
        first = callers.submit(meeting.forward, image)
        assert engine.began.wait(30)
        closings = [callers.submit(meeting.close) for _ in range(2)]
        engine.all_here.wait(30)  # in place of a second forward pass
        first.result()
        for closing in closings:
            closing.result()
    with pytest.raises(BadInput, match="is closed"):
        meeting.forward(image)
