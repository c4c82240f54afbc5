"""The batcher: every caller gets its own row, whatever other callers do."""

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tencrop.common.errors import Stopped, WorkFailed
from tencrop.model.contract import CENTER_VIEW, Contract
from tencrop.runtime.classifier import Classifier
from tencrop.server.batcher import Batcher, Offer, forward_sizes, warm_up
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.metrics import Metrics
from tencrop.server.requester import Requester
from tencrop.server.waiting import Awaited

ANYBODY = Requester("anybody", 0)


class Echo:
    """Answers each image with its own first pixel; `gate` holds the engine back."""

    name = "echo"
    streams = 1
    engine = SimpleNamespace(name="echo", device="cpu", precision="fp32")

    def __init__(self) -> None:
        self.contract = Contract()
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0  # forward passes that began
        self.sizes: list[int] = []  # images of each forward pass that passed the gate
        self.fail_next = False
        self.asked: list[Sequence[str]] = []  # outputs of each forward pass with features

    @property
    def members(self) -> tuple["Echo"]:
        return (self,)

    def compute(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Features of view V are the first pixel times V."""
        self.asked.append(outputs)
        mean, views = self.forward(images)
        return [mean, views, *(views * np.arange(10, dtype=np.float32)[:, None] for _ in outputs[2:])]

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        self.gate.wait()
        self.sizes.append(len(images))
        if self.fail_next:
            self.fail_next = False
            raise RuntimeError("engine broke")
        first = images[:, 0, 0, :1].astype(np.float32)
        return first, np.repeat(first[:, None], 10, 1)


def image(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def batcher(engine: Echo, forward_images: int = 4, offer: Offer | None = None) -> Batcher:
    return Batcher([cast(Classifier, cast(Any, engine))], forward_images, Metrics(), offer=offer)


async def until(condition: Any) -> None:
    due = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < due, "waited 10 s in vain"
        await asyncio.sleep(0.005)


def test_each_caller_gets_its_own_row() -> None:
    engine = Echo()
    running = batcher(engine)

    async def ask() -> list[float]:
        results = await asyncio.gather(*(running.answer(image(value), ANYBODY) for value in range(100)))
        return [float(result.probabilities[0]) for result in results]

    assert asyncio.run(ask()) == list(range(100))
    running.stop()
    assert max(engine.sizes) <= 4 and sum(engine.sizes) == 100


def test_waiting_images_go_together_up_to_the_budget() -> None:
    engine = Echo()
    running = batcher(engine)

    async def ask() -> None:
        engine.gate.clear()
        tasks = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(9)]
        await until(lambda: len(running._queue) >= 5)
        engine.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    running.stop()
    assert sum(engine.sizes) == 9 and 4 in engine.sizes


def test_features_come_from_the_forward_pass_of_the_images_beside_them() -> None:
    engine, offered = Echo(), list[list[float]]()
    running = batcher(engine, offer=lambda _, squares, mean: offered.append([*squares[:, 0, 0, 0], *mean[:, 0]]))
    center, ten = FeatureChoice("fc7", "center"), FeatureChoice("fc6", "ten")

    async def ask() -> None:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(1), ANYBODY))
        await until(lambda: engine.calls)
        choices = [center, None, ten]
        tasks = [asyncio.create_task(running.answer(image(2 + i), ANYBODY, each)) for i, each in enumerate(choices)]
        await until(lambda: len(running) == 3)
        engine.gate.set()
        answers = await asyncio.gather(first, *tasks)
        assert [float(answer.probabilities[0]) for answer in answers] == [1, 2, 3, 4]
        features = [answer.features if answer.features is None else answer.features.tolist() for answer in answers]
        assert features == [None, [2 * CENTER_VIEW], None, [4 * 4.5]]

    asyncio.run(ask())
    running.stop()
    assert engine.asked == [("probabilities", "view_probabilities", "fc7", "fc6")], "the other pass reads no features"
    assert engine.sizes == [1, 3] and offered == [[1, 1], [3, 3]]


def test_a_form_leaves_a_place_of_the_next_forward_to_other_requests() -> None:
    engine = Echo()
    running = batcher(engine)
    form, late, other = (Requester(*each) for each in (("one", 1), ("one", 2), ("other", 3)))

    async def ask() -> None:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(0), form))
        await until(lambda: engine.calls)
        waiting = [asyncio.create_task(running.answer(image(value), form)) for value in range(20)]
        await until(lambda: len(running._queue) == 20)
        light = [asyncio.create_task(running.answer(image(99), each)) for each in (late, other)]
        await until(lambda: len(running._queue) == 22)
        engine.gate.set()
        await asyncio.gather(first, *waiting, *light)
        queued = [task.result().queue_seconds for task in light]
        assert max(queued) < waiting[2].result().queue_seconds  # of the same forward pass, or the one before

    asyncio.run(ask())
    running.stop()


def test_cancelled_caller_is_dropped_before_its_forward() -> None:
    engine = Echo()
    running = batcher(engine, forward_images=1)

    async def ask() -> None:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(1), ANYBODY))
        await asyncio.sleep(0.05)
        gone, last = (asyncio.create_task(running.answer(image(value), ANYBODY)) for value in (2, 3))
        await until(lambda: len(running._queue) == 2)
        gone.cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        assert float((await last).probabilities[0]) == 3 and float((await first).probabilities[0]) == 1

    asyncio.run(ask())
    running.stop()
    assert engine.sizes == [1, 1]


def test_engine_error_reaches_its_callers_and_the_thread_lives_on() -> None:
    engine = Echo()
    running = batcher(engine)
    engine.fail_next = True

    async def ask() -> float:
        with pytest.raises(RuntimeError, match="engine broke"):
            await running.answer(image(1), ANYBODY)
        return float((await running.answer(image(2), ANYBODY)).probabilities[0])

    assert asyncio.run(ask()) == 2
    assert running.is_alive
    running.stop()
    assert not running.is_alive


def test_stop_answers_the_images_that_wait() -> None:
    engine = Echo()
    running = batcher(engine, forward_images=1)

    async def ask() -> list[float]:
        engine.gate.clear()
        tasks = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(3)]
        await until(lambda: len(running._queue) >= 2)
        engine.gate.set()
        await asyncio.get_running_loop().run_in_executor(None, running.stop)
        return [float((await task).probabilities[0]) for task in tasks]

    assert asyncio.run(ask()) == [0, 1, 2]


def test_a_job_waits_for_requests_and_never_shares_their_forward() -> None:
    engine = Echo()
    running = batcher(engine)

    async def ask() -> None:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(1), ANYBODY))
        await until(lambda: engine.calls)
        job = asyncio.get_running_loop().run_in_executor(
            None, running.run_background, np.stack([image(9)] * 3), lambda: False
        )
        await until(lambda: running._background)
        late = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(6)]
        await until(lambda: len(running._queue) == 6)
        engine.gate.set()
        mean, views = await job
        assert mean.tolist() == [[9]] * 3 and views.shape == (3, 10, 1)
        assert [float((await task).probabilities[0]) for task in [first, *late]] == [1, *range(6)]

    asyncio.run(ask())
    running.stop()
    assert engine.sizes == [1, 4, 2, 3]  # the job came second and is computed last


def test_a_job_that_waits_is_stopped_and_its_forward_never_run() -> None:
    engine = Echo()
    running = batcher(engine)

    async def ask() -> None:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(1), ANYBODY))
        await until(lambda: engine.calls)
        with pytest.raises(Stopped):
            await asyncio.get_running_loop().run_in_executor(None, running.run_background, image(9)[None], lambda: True)
        engine.gate.set()
        await first

    asyncio.run(ask())
    running.stop()
    assert engine.sizes == [1]
    with pytest.raises(Stopped):  # the engine's thread has ended
        running.run_background(image(9)[None], lambda: False)


def test_engine_error_reaches_the_job_and_the_thread_lives_on() -> None:
    engine = Echo()
    running = batcher(engine)
    engine.fail_next = True
    with pytest.raises(RuntimeError, match="engine broke"):
        running.run_background(image(1)[None], lambda: False)
    assert running.run_background(image(2)[None], lambda: False)[0].tolist() == [[2]]
    running.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_of_an_engine_whose_thread_has_died_fails_and_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Echo()
    running = batcher(engine)
    monkeypatch.setattr(engine, "forward", lambda _: sys.exit())  # ends the thread
    for _ in range(2):
        with pytest.raises(WorkFailed, match="the engine has stopped"):
            running.run_background(image(1)[None], lambda: False)
    assert not running.is_alive
    with pytest.raises(Stopped):
        running.run_background(image(1)[None], lambda: True)
    running.stop()


def test_forwards_have_few_sizes_and_padding_is_left_out() -> None:
    assert forward_sizes(4) == [1, 2, 3, 4]
    assert forward_sizes(32) == [1, 2, 3, 4, 8, 16, 32]
    assert forward_sizes(20) == [1, 2, 3, 4, 8, 16, 20]
    assert forward_sizes(1) == [1]
    engine = Echo()
    running = batcher(engine, forward_images=20)

    async def ask(count: int) -> list[float]:
        engine.gate.clear()
        first = asyncio.create_task(running.answer(image(99), ANYBODY))
        await until(lambda: engine.calls > len(engine.sizes))
        tasks = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(count)]
        await until(lambda: len(running._queue) == count)
        engine.gate.set()
        await first
        return [float((await task).probabilities[0]) for task in tasks]

    for count in (5, 9, 17, 20, 3):
        assert asyncio.run(ask(count)) == list(range(count))
    running.stop()
    assert set(engine.sizes) <= set(forward_sizes(20))


def test_each_stream_of_an_engine_has_a_thread() -> None:
    engine = Echo()
    engine.streams = 2
    engine.gate.clear()
    running = batcher(engine, forward_images=1)

    async def ask() -> None:
        tasks = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(4)]
        await until(lambda: engine.calls == 2)
        engine.gate.set()
        assert [float((await task).probabilities[0]) for task in tasks] == [0, 1, 2, 3]

    asyncio.run(ask())
    running.stop()


def test_two_engines_share_one_queue() -> None:
    slow, quick = Echo(), Echo()
    for each in (slow, quick):
        each.gate.clear()
    running = Batcher([cast(Classifier, cast(Any, each)) for each in (slow, quick)], 1, Metrics())

    async def ask() -> list[float]:
        tasks = [asyncio.create_task(running.answer(image(value), ANYBODY)) for value in range(10)]
        await until(lambda: slow.calls == quick.calls == 1)
        quick.gate.set()
        await until(lambda: len(quick.sizes) == 9)
        slow.gate.set()
        return [float((await task).probabilities[0]) for task in tasks]

    assert asyncio.run(ask()) == list(range(10))
    running.stop()
    assert (len(slow.sizes), len(quick.sizes)) == (1, 9)


def test_no_forward_of_a_job_begins_while_an_image_is_admitted() -> None:
    engine, admitted = Echo(), [1]
    running = Batcher([cast(Classifier, cast(Any, engine))], 4, Metrics(), lambda: admitted[0])

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, running.run_background, np.stack([image(7)]), lambda: False)
        await asyncio.sleep(0.05)
        assert engine.calls == 0
        assert float((await running.answer(image(5), ANYBODY)).probabilities[0]) == 5
        assert engine.calls == 1
        admitted[0] = 0
        assert float((await job)[0][0, 0]) == 7

    asyncio.run(ask())
    running.stop()


def test_an_engine_that_cannot_run_a_size_is_refused_before_it_serves() -> None:
    engine = Echo()
    engine.fail_next = True
    with pytest.raises(WorkFailed, match="a forward of 1 images fails: engine broke; set TENCROP_FORWARD_VIEWS lower"):
        warm_up(cast(Classifier, cast(Any, engine)), 4)
    engine.sizes.clear()
    warm_up(cast(Classifier, cast(Any, engine)), 4)
    assert engine.sizes == [1, 2, 3, 4]


def test_a_batch_is_offered_once_its_answers_have_arrived() -> None:
    engine, answered = Echo(), threading.Event()
    offered: list[tuple[list[Requester], list[int], list[float]]] = []

    def offer(requesters: Sequence[Requester], squares: np.ndarray, probabilities: np.ndarray) -> None:
        assert answered.wait(10)
        rows = len(requesters)
        offered.append((list(requesters), squares[:rows, 0, 0, 0].tolist(), probabilities[:, 0].tolist()))

    running = Batcher([cast(Classifier, cast(Any, engine))], 8, Metrics(), offer=offer)

    async def ask() -> None:
        waiting = [Awaited(image(value), Requester("anybody", value)) for value in range(5)]  # padded to 8
        running.put(waiting)
        await asyncio.gather(*(each.future for each in waiting))
        answered.set()

    asyncio.run(ask())
    running.stop()
    assert offered == [([Requester("anybody", value) for value in range(5)], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])]


def test_a_batch_that_fails_is_not_offered() -> None:
    engine, offered = Echo(), list[Any]()
    engine.fail_next = True
    running = Batcher([cast(Classifier, cast(Any, engine))], 4, Metrics(), offer=lambda *batch: offered.append(batch))

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="engine broke"):
            await running.answer(image(1), ANYBODY)

    asyncio.run(ask())
    running.stop()
    assert offered == []


def test_a_retired_batcher_closes_its_engines_once_no_job_holds_them() -> None:
    engine, closed = Echo(), threading.Event()
    engine.close = closed.set  # type: ignore[attr-defined]
    running = batcher(engine)
    with running.hold():
        running.retire()
        with pytest.raises(Stopped, match="another model"), running.hold():
            pass
        assert float(running.run_background(np.stack([image(7)]), lambda: False)[0][0, 0]) == 7
        assert running.is_alive and not closed.is_set()
    assert closed.wait(10)
    running.stop()
    assert not running.is_alive
