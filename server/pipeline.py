"""Pipeline: the path of every request for predictions, from its body to the answers of its images."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from fastapi import Request

from tencrop.common.errors import BadInput
from tencrop.images.decode import ImageInfo
from tencrop.images.decode_cost import CHEAP, estimate_cost
from tencrop.images.errors import ImageError
from tencrop.model.calibration import find_threshold
from tencrop.runtime.prediction import Prediction
from tencrop.server.admission import Admission
from tencrop.server.deadline import with_deadline
from tencrop.server.decode_pool import DecodePool
from tencrop.server.errors import bad_parameter_error
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.image_answer import ENCODED, SQUARES, ImageAnswer, Images, count_request
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.metrics import Metrics
from tencrop.server.requester import Requester, identify_requester, without_id
from tencrop.server.waiting import BatchedAnswer

if TYPE_CHECKING:
    from tencrop.server.spans import Spans

SHORT = 256 << 10  # bytes; the costs of longer images are estimated in a thread
LOOK_COST = 0.1  # in units of `estimate_cost`, of an estimate

Body = TypeVar("Body")
Answer = TypeVar("Answer")


class Answering(Protocol):
    """The queue in front of a model's engines, in this process or in another."""

    @property
    def is_alive(self) -> bool:
        """Return whether all engines run."""
        ...

    async def answer(
        self, pixels: np.ndarray, requester: Requester, features: FeatureChoice | None = None
    ) -> BatchedAnswer:
        """uint8 [R,R,3] -> its answer. Once the caller is cancelled nothing is held for the image. Raises NoAnswer."""
        ...


class Pipeline:
    """One model's path: check for room, read the body, admit its images, decode, queue, forward pass, answer.

    Every interface takes this path. Interfaces differ in how they read a body and how they render answers.
    """

    def __init__(
        self,
        model: LoadedModel,
        queue: Answering,
        admission: Admission,
        decode_pool: DecodePool,
        metrics: Metrics,
        deadline_seconds: float,
        identify: Callable[[Request], Requester] = identify_requester,
        spans: "Spans | None" = None,
    ) -> None:
        self.model, self.queue, self.admission = model, queue, admission
        self._decode_pool, self.metrics, self._deadline_seconds = decode_pool, metrics, deadline_seconds
        self._identify, self._spans = identify, spans
        self._requests, self._unused = 0, asyncio.Event()
        self._unused.set()

    async def answer_request(
        self,
        request: Request,
        read: Callable[[Request], Awaitable[Body]],
        answer: Callable[[Body, Requester], Awaitable[Answer]],
    ) -> Answer:
        """Read the request's body, then answer it within the deadline.

        `answer` calls `answer_image` or `answer_images`, for the client that takes its turns.

        Raises ApiError 429, before the body is read, where no place is free; and the errors of its parts.
        """
        with self._in_use():
            requester = self._identify(request)
            self.admission.check_room(requester.client)
            body = await read(request)
            return await with_deadline(request, self._deadline_seconds, answer(body, requester))

    async def wait_until_unused(self) -> None:
        """Wait until every request has ended. Call when none will come any more."""
        await self._unused.wait()

    async def answer_image(
        self, image: bytes, requester: Requester, features: FeatureChoice | None = None
    ) -> ImageAnswer:
        """Answer an encoded image. Raises ApiError 429, ImageError."""
        with count_request(self.metrics, self.model.name, ENCODED) as answers:
            cost = await self._estimate(image, requester)
            with self.admission.admit(requester.client, is_expensive=cost > CHEAP):
                answer = await self._answer(image, requester, cost, features)
            answers.append(answer)
        return answer

    async def answer_images(
        self, images: Images, requester: Requester, features: FeatureChoice | None = None
    ) -> list[ImageAnswer | ImageError]:
        """Answer the images in their order. An ImageError stands in the place of an image that cannot be answered.

        Raises ApiError 429 where the model has no room for all of them.
        """
        form = SQUARES if isinstance(images, np.ndarray) else ENCODED
        with count_request(self.metrics, self.model.name, form) as answers:
            answers += await self._answer_all(images, requester, features)
        return answers

    async def _answer_all(
        self, images: Images, requester: Requester, features: FeatureChoice | None
    ) -> list[ImageAnswer | ImageError]:
        requester = without_id(requester) if len(images) > 1 else requester
        costs, check_room = [], partial(self.admission.check_room, requester.client, len(images))
        for image in images:
            costs.append(await self._estimate(image, requester))
            if costs[-1] > CHEAP:
                check_room(is_expensive=True)  # the first one is enough to refuse a form
        with self.admission.admit(requester.client, len(images), is_expensive=max(costs, default=0) > CHEAP):
            pairs = zip(images, costs, strict=True)
            answers = [self._answer(image, requester, cost, features) for image, cost in pairs]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
        return [_raise_unless_answer(outcome) for outcome in outcomes]

    def find_threshold(self, coverage: float | None) -> float | None:
        """The lowest probability in a set of this coverage. Raises ApiError 422 where the model has none."""
        try:
            return None if coverage is None else find_threshold(self.model.calibration, coverage, self.model.name)
        except BadInput as error:
            raise bad_parameter_error(error.what) from None

    def name_classes(self, answer: ImageAnswer, top: int, threshold: float | None = None) -> Prediction:
        """The answer with its `top` most probable classes, and a set of those that are not below `threshold`."""
        mean, views, model = answer.batched.probabilities, answer.batched.view_probabilities, self.model
        return Prediction.from_probabilities(mean, views, model.contract.labels, top, model.calibration, threshold)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Count a request until the block ends."""
        self._requests += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._unused.set()

    async def _estimate(self, image: bytes | np.ndarray, requester: Requester) -> float:
        """Estimate the cost of decoding an image, so that others are answered meanwhile. A square costs nothing."""
        if isinstance(image, np.ndarray):
            return 0.0
        if len(image) > SHORT:
            return await self._decode_pool.run(requester, LOOK_COST, estimate_cost, image, self.model.contract)
        await asyncio.sleep(0)
        return estimate_cost(image, self.model.contract)

    async def _answer(
        self, image: bytes | np.ndarray, requester: Requester, cost: float, features: FeatureChoice | None
    ) -> ImageAnswer:
        """Decode, queue and answer. Raises ImageError."""
        if len(image) == 0:
            raise ImageError("the image is empty (0 bytes)")
        pixels, info, seconds = await self._decode(image, requester, cost)
        queued = time.perf_counter()
        batched = await self.queue.answer(pixels, requester, features)
        begun = queued + batched.queue_seconds
        computed = begun + batched.engine_seconds
        output_seconds = time.perf_counter() - computed
        self._record_span("queue", queued, begun)
        self._record_span("forward", begun, computed)
        if info:
            self.metrics.observe_decoding(self.model.name, seconds)
        return ImageAnswer(batched, info, seconds, max(output_seconds, 0.0))

    async def _decode(
        self, image: bytes | np.ndarray, requester: Requester, cost: float
    ) -> tuple[np.ndarray, ImageInfo | None, float]:
        """The image as a square, uint8 [R,R,3]; its description; the seconds that decoding took. Raises ImageError."""
        if isinstance(image, np.ndarray):
            return image, None, 0.0
        started = time.perf_counter()
        try:
            pixels, info = await self._decode_pool.decode(image, self.model.contract, requester, cost)
        finally:
            ended = time.perf_counter()
            self._record_span("decode", started, ended)
        return pixels, info, ended - started

    def _record_span(self, part: str, started: float, ended: float) -> None:
        """Record a part of the running request, where spans are on."""
        if self._spans:
            self._spans.record(part, self.model.name, started, ended)


def _raise_unless_answer(outcome: ImageAnswer | BaseException) -> ImageAnswer | ImageError:
    """Return an answer or an image's own error; raise every other error."""
    if isinstance(outcome, ImageAnswer | ImageError):
        return outcome
    raise outcome
