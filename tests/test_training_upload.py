"""training/upload.py: the order in which batches are copied, read and overwritten, with imitated streams of CUDA."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch

from tencrop.training.loader import Batch
from tencrop.training.upload import BUFFERS, _copy_beside, upload

CPU = torch.device("cpu")


class Stream:
    """Records what it is asked to wait for."""

    def __init__(self, device: torch.device) -> None:
        self.calls: list[tuple[str, object]] = []

    def wait_stream(self, other: object) -> None:
        self.calls.append(("stream", other))

    def wait_event(self, event: "Event") -> None:
        self.calls.append(("event", event.recorded))


class Event:
    """Counts the times that it was recorded."""

    recorded = 0

    def record(self, stream: Stream) -> None:
        self.recorded += 1


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream(CPU)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    return stream


def batches(n: int) -> Iterator[Batch]:
    return (Batch(*(torch.full((2, 3), 10 * number + field) for field in range(5))) for number in range(n))


def test_on_a_cpu_the_batches_are_passed_on() -> None:
    given = list(batches(3))
    assert all(a is b for a, b in zip(upload(iter(given), CPU), given, strict=True))


def test_each_step_reads_its_batch_in_one_of_two_buffers(computing: Stream) -> None:
    places = []
    for given, copied in zip(batches(5), _copy_beside(batches(5), CPU), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(given, copied, strict=True))
        places.append(copied.crops.data_ptr())
    assert len(set(places)) == BUFFERS == 2
    assert places == [places[0], places[1], places[0], places[1], places[0]]


def test_a_copy_waits_for_the_step_that_read_its_buffer_and_a_step_for_its_copy(computing: Stream) -> None:
    list(_copy_beside(batches(5), CPU))
    assert [kind for kind, _ in computing.calls] == ["stream"] * 5
    (copying,) = {other for _, other in computing.calls}
    assert isinstance(copying, Stream)
    assert [recorded for kind, recorded in copying.calls if kind == "event"] == [0, 0, 1, 1, 2]
    assert [other for kind, other in copying.calls if kind == "stream"] == [computing] * BUFFERS  # new memory
