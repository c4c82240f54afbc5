"""Shadow: a second model that is asked what the first served model was asked, where the server has time.

A forward pass of the shadow takes one square, and begins only while no image of any request is admitted. So a request
waits for at most one of them, and REST keeps most requests from meeting any.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

import numpy as np

from tencrop.model.contract import Contract
from tencrop.model.metrics import top_k, wilson_interval
from tencrop.server.errors import ApiError
from tencrop.server.feedback_store import Pair
from tencrop.server.metrics import Metrics
from tencrop.server.open_shadow import OpenShadow
from tencrop.server.requester import Requester, number_request
from tencrop.server.shadow_schemas import Feedback, NewFeedback, RightCounts, ShadowState

WAITING = 64  # squares that wait at most; one more drops the oldest
REST = 4.0  # after a forward pass the shadow rests for so many times its seconds
LOOK_SECONDS = 0.005  # how often a square that waits looks whether a request is there

log = logging.getLogger("uvicorn.error")


class _Answered(NamedTuple):
    request: int  # its number, below zero where its id names this image
    square: np.ndarray  # uint8 [R,R,3]
    label: str  # id of the first label


class Shadow:
    """The shadow of the model `name` of a contract. `count_admitted` counts the images of all requests."""

    def __init__(
        self, opened: OpenShadow, name: str, contract: Contract, count_admitted: Callable[[], int], metrics: Metrics
    ) -> None:
        self.name, self._opened, self._count_admitted = name, opened, count_admitted
        self._ids = [label.id for label in contract.labels]
        self._shadow_ids = [label.id for label in opened.model.contract.labels]
        self._counters, self._counts = metrics.open_shadow(name, opened.name), Counter[str]()
        self._since = datetime.now(UTC)
        self._waiting: deque[_Answered] = deque()
        self._wake, self._ended = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()
        log.info("%s: its answers are compared with those of %s, in spare time", name, opened.name)

    def offer(self, requesters: Sequence[Requester], squares: np.ndarray, probabilities: np.ndarray) -> None:
        """Queue answered squares, uint8 [>=N,R,R,3], with the model's probabilities [N,C]."""
        for requester, square, index in zip(requesters, squares, top_k(probabilities, 1)[:, 0], strict=False):
            if index < 0:  # no answer
                continue
            with self._wake:
                if len(self._waiting) == WAITING:
                    self._waiting.popleft()
                    self._count("dropped")
                self._waiting.append(_Answered(requester.number, square.copy(), self._ids[index]))
                self._wake.notify()

    def describe(self) -> ShadowState:
        """The counts so far."""
        with self._wake:
            counts, waiting = self._counts.copy(), len(self._waiting)
        compared, feedback = counts["compared"], self._opened.feedback
        share = counts["disagreements"] / compared if compared else None
        return ShadowState(
            model=self.name,
            shadow=self._opened.name,
            since=self._since,
            compared=compared,
            dropped=counts["dropped"],
            waiting=waiting,
            disagreements=counts["disagreements"],
            disagreement=share,
            interval=None if share is None else wilson_interval(share, compared),
            right=RightCounts(**feedback.count()._asdict()) if feedback else None,
        )

    def give_label(self, given: NewFeedback) -> Feedback:
        """Keep the true label, an id, of a request's image, in place of an earlier one. Raises ApiError 404, 507."""
        if not self._opened.feedback:
            raise ApiError(HTTPStatus.NOT_FOUND, "feedback_off", "the server was started without --feedback")
        try:
            pair = self._opened.feedback.label(number_request(given.request), given.label)
        except sqlite3.Error as error:
            why = f"the label cannot be kept ({error})"
            raise ApiError(HTTPStatus.INSUFFICIENT_STORAGE, "cannot_be_kept", why) from None
        if not pair:
            what = "no comparison of such a request is kept: it waits, is unknown, has several images, or was dropped"
            raise ApiError(HTTPStatus.NOT_FOUND, "not_found", what)
        return Feedback(request=given.request, label=given.label, **pair._asdict())

    def drain(self) -> None:
        """Begin no forward pass any more."""
        self._ended.set()
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """End, once the forward pass that runs has ended. Squares that wait are dropped."""
        self.drain()
        self._thread.join()
        if self._opened.feedback:
            self._opened.feedback.close()
        if self._opened.lock:
            self._opened.lock.close()

    def _work(self) -> None:
        while answered := self._next():
            started = time.perf_counter()
            if label := self._ask(answered.square):
                self._record(answered, Pair(answered.label, label))
            else:
                self._count("dropped")
            self._ended.wait(REST * (time.perf_counter() - started))

    def _next(self) -> _Answered | None:
        """Wait for a square and for a moment without requests; None once the server ends."""
        while not self._ended.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._ended.is_set())
                if not self._ended.is_set() and not self._count_admitted():
                    return self._waiting.popleft()
            self._ended.wait(LOOK_SECONDS)
        return None

    def _ask(self, square: np.ndarray) -> str | None:
        """The id of the shadow's first label for a square; None where it has no answer."""
        try:
            index = top_k(self._opened.model.forward(square[None])[0], 1)[0, 0]
        except Exception:  # each runtime raises types of its own; the thread lives on
            log.exception("the shadow %s fails", self._opened.name)
            return None
        return self._shadow_ids[index] if index >= 0 else None

    def _record(self, answered: _Answered, pair: Pair) -> None:
        """Count a comparison, and keep what is to be kept of it."""
        self._count("compared")
        disagrees = pair.model != pair.shadow
        if disagrees:
            self._count("disagreements")
        try:
            if self._opened.squares and disagrees:
                self._opened.squares.keep(answered.square, pair)
            if self._opened.feedback and answered.request < 0:
                self._opened.feedback.keep(answered.request, pair)
        except (OSError, sqlite3.Error) as error:
            log.warning("a comparison of the shadow %s cannot be kept (%s)", self._opened.name, error)

    def _count(self, name: str) -> None:
        with self._wake:
            self._counters[name].inc()
            self._counts[name] += 1
