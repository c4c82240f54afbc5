"""The path of a request: the order of its steps, its deadline, and the places that a client frees when it leaves."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from tencrop.images.decode_cost import CHEAP
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract, Label
from tencrop.runtime.classifier import Classifier
from tencrop.server import pipeline
from tencrop.server.admission import Admission
from tencrop.server.batcher import Batcher
from tencrop.server.deadline import with_deadline
from tencrop.server.decode_pool import DecodePool
from tencrop.server.errors import ApiError
from tencrop.server.image_answer import ImageAnswer
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.metrics import Metrics
from tencrop.server.pipeline import SHORT, Pipeline
from tencrop.server.requester import Requester

ANYBODY = Requester("anybody", 0)


class Echo:
    """Answers each square with its first pixel; a square of 255 is no number. `gate` holds the engine back."""

    name = "echo"
    streams = 1
    engine = SimpleNamespace(name="echo", device="cpu", precision="fp32")
    contract = Contract(labels=(Label("a", "a"),))

    def __init__(self) -> None:
        self.gate, self.began = threading.Event(), threading.Event()
        self.gate.set()
        self.fail_next = False

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.began.set()
        self.gate.wait(30)
        if self.fail_next:
            self.fail_next = False
            raise RuntimeError("engine broke")
        first = images[:, 0, 0, :1].astype(np.float32)
        first[first == 255] = np.nan
        return first, np.repeat(first[:, None], 10, 1)


def squares(*values: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), value, np.uint8) for value in values])


async def stays() -> Any:
    """The messages of a client that stays."""
    await asyncio.sleep(60)


async def leaves() -> Any:
    """The messages of a client that leaves soon."""
    await asyncio.sleep(0.05)
    return {"type": "http.disconnect"}


def request(receive: Callable[[], Awaitable[Any]] = stays) -> Request:
    return Request({"type": "http", "headers": []}, receive)


def run(
    engine: Echo, use: Callable[[Pipeline], Awaitable[None]], capacity: int = 8, deadline_seconds: float = 10
) -> Metrics:
    """Call `use` with a pipeline around the engine, then end its threads."""
    metrics = Metrics()
    batcher = Batcher([cast(Classifier, cast(Any, engine))], 4, metrics)
    pool = DecodePool()
    model = cast(LoadedModel, cast(Any, engine))
    pipeline = Pipeline(model, batcher, Admission(capacity), pool, metrics, deadline_seconds)

    async def main() -> None:
        await use(pipeline)

    asyncio.run(main())
    engine.gate.set()
    batcher.stop()
    pool.close()
    return metrics


def test_answers_are_in_order_and_an_error_stands_in_its_images_place() -> None:
    async def use(pipeline: Pipeline) -> None:
        answers = await pipeline.answer_images(squares(3, 255, 5), ANYBODY)
        good = [answer.batched.probabilities.tolist() for answer in answers if isinstance(answer, ImageAnswer)]
        assert good == [[3], [5]]
        assert isinstance(answers[1], ImageError) and answers[1].code == "no_answer"
        answers = await pipeline.answer_images([b"", b"no image"], ANYBODY)
        codes = [answer.code for answer in answers if isinstance(answer, ImageError)]
        assert codes == ["damaged_image", "unsupported_format"]
        assert pipeline.admission.count_admitted() == 0

    metrics = run(Echo(), use)
    assert metrics.get_value("images_total", "echo") == 3
    assert metrics.get_value("decode_seconds_count", "echo") == 0  # nobody decoded the squares


def test_others_are_answered_while_the_costs_of_images_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A form of 64 images that were looked at in one go kept the event loop for two seconds."""
    turns, seen = 0, []

    def estimate(image: bytes, _: Contract) -> float:
        seen.append((turns, threading.current_thread() is threading.main_thread()))
        return 0.0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def use(pipeline: Pipeline) -> None:
        counting = asyncio.ensure_future(count_turns())
        await pipeline.answer_images([b"short"] * 5 + [bytes(SHORT + 1)], ANYBODY)
        counting.cancel()

    monkeypatch.setattr(pipeline, "estimate_cost", estimate)
    run(Echo(), use)
    assert len({turn for turn, _ in seen[:5]}) == 5
    assert [in_loop for _, in_loop in seen] == [True] * 5 + [False]


def test_a_form_is_refused_at_its_first_expensive_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def estimate(image: bytes, _: Contract) -> float:
        seen.append(image)
        return CHEAP + 1 if image == b"expensive" else 0.0

    async def use(pipeline: Pipeline) -> None:
        with pipeline.admission.admit("other", 8), pytest.raises(ApiError):
            await pipeline.answer_images([b"cheap", b"expensive", *[b"cheap"] * 5], ANYBODY)
        assert seen == [b"cheap", b"expensive"] and pipeline.admission.count_admitted() == 0

    monkeypatch.setattr(pipeline, "estimate_cost", estimate)
    run(Echo(), use)


def test_an_error_of_the_engine_is_raised_and_frees_the_places() -> None:
    engine = Echo()
    engine.fail_next = True

    async def use(pipeline: Pipeline) -> None:
        with pytest.raises(RuntimeError, match="engine broke"):
            await pipeline.answer_images(squares(1, 2), ANYBODY)
        assert pipeline.admission.count_admitted() == 0

    run(engine, use)


def test_a_full_model_refuses_before_it_reads_the_body() -> None:
    async def use(pipeline: Pipeline) -> None:
        read: list[Request] = []

        async def body(of: Request) -> np.ndarray:
            read.append(of)
            assert pipeline.admission.count_admitted() == 0  # a body that is being read holds no place
            return squares(1)

        with pipeline.admission.admit("other", 1), pytest.raises(ApiError) as refused:
            await pipeline.answer_request(request(), body, pipeline.answer_images)
        assert refused.value.status_code == 429 and not read
        assert len(await pipeline.answer_request(request(), body, pipeline.answer_images)) == 1 and len(read) == 1

    run(Echo(), use, capacity=1)


def test_a_body_of_more_images_than_there_is_room_for_is_429_as_a_whole() -> None:
    async def use(pipeline: Pipeline) -> None:
        async def body(_: Request) -> np.ndarray:
            return squares(1, 2, 3)

        with pytest.raises(ApiError) as refused:
            await pipeline.answer_request(request(), body, pipeline.answer_images)
        assert refused.value.status_code == 429 and pipeline.admission.count_admitted() == 0

    metrics = run(Echo(), use, capacity=2)
    assert metrics.get_value("images_total", "echo") == 0


@pytest.mark.parametrize(
    ("receive", "deadline_seconds", "raised"), [(stays, 0.05, ApiError), (leaves, 10, ClientDisconnect)]
)
def test_a_late_answer_and_a_client_that_leaves_free_the_places_at_once(
    receive: Callable[[], Awaitable[Any]], deadline_seconds: float, raised: type[Exception]
) -> None:
    engine = Echo()
    engine.gate.clear()

    async def use(pipeline: Pipeline) -> None:
        async def body(_: Request) -> np.ndarray:
            return squares(1, 2)

        with pytest.raises(raised) as refused:
            await pipeline.answer_request(request(receive), body, pipeline.answer_images)
        assert engine.began.is_set() and not engine.gate.is_set()
        assert pipeline.admission.count_admitted() == 0
        if isinstance(refused.value, ApiError):
            assert (refused.value.status_code, refused.value.code) == (504, "deadline")

    run(engine, use, deadline_seconds=deadline_seconds)


def test_a_cancelled_request_frees_its_places_and_is_cancelled() -> None:
    """uvicorn cancels a request when the time to drain is over."""
    engine = Echo()
    engine.gate.clear()

    async def use(pipeline: Pipeline) -> None:
        async def body(_: Request) -> np.ndarray:
            return squares(1, 2)

        task = asyncio.ensure_future(pipeline.answer_request(request(), body, pipeline.answer_images))
        await asyncio.get_running_loop().run_in_executor(None, engine.began.wait, 10)
        assert pipeline.admission.count_admitted() == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pipeline.admission.count_admitted() == 0

    run(engine, use)


def test_a_pipeline_is_used_from_the_wait_for_a_body_until_the_answer() -> None:
    async def use(pipeline: Pipeline) -> None:
        await asyncio.wait_for(pipeline.wait_until_unused(), 10)
        arrived = asyncio.Event()

        async def body(_: Request) -> np.ndarray:
            await arrived.wait()
            return squares(3)

        asking = [asyncio.ensure_future(pipeline.answer_request(request(), body, pipeline.answer_images)) for _ in "ab"]
        await asyncio.sleep(0)
        unused = asyncio.ensure_future(pipeline.wait_until_unused())
        asking.pop().cancel()
        await asyncio.sleep(0)
        assert not unused.done()
        arrived.set()
        assert len(await asking.pop()) == 1
        await asyncio.wait_for(unused, 10)

    run(Echo(), use)


def test_a_timeout_of_the_work_itself_is_not_the_deadlines() -> None:
    async def work() -> None:
        raise TimeoutError("a socket's")

    with pytest.raises(TimeoutError, match="a socket's"):
        asyncio.run(with_deadline(request(), 10, work()))


def test_a_client_that_leaves_after_the_answer_changes_nothing() -> None:
    async def use() -> int:
        async def left() -> Any:
            return {"type": "http.disconnect"}

        async def work() -> int:
            return 7

        answer = await with_deadline(request(left), 10, work())
        for _ in range(3):
            await asyncio.sleep(0)  # lets the watch over the client end
        return answer

    assert asyncio.run(use()) == 7
