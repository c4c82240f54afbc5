"""Workers: the threads that answer LoadGen's queries."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from tencrop.common.errors import WorkFailed, one_line

AnswerImages = Callable[[Sequence[int]], Sequence[int]]  # numbers of images -> the index of each one's class

NO_CLASS = -1  # stands for an answer that failed; LoadGen waits for every answer


class Sample(Protocol):
    """A query of LoadGen for the image with the number `index`."""

    id: int
    index: int


class Workers:
    """So many threads; each gives up to `most` waiting images to `answer` at a time."""

    def __init__(self, answer: AnswerImages, threads: int, most: int) -> None:
        self._answer, self._most = answer, most
        self._waiting = deque[tuple[int, int]]()
        self._failures: list[Exception] = []
        self._pool = ThreadPoolExecutor(threads)

    def issue(self, samples: Iterable[Sample], complete: Callable[[int, int], None]) -> None:
        """Take queries; `complete` is called with each one's id and the index of its class."""
        for sample in samples:
            self._waiting.append((sample.id, sample.index))
            with suppress(RuntimeError):  # the pool is closed: the test was stopped
                self._pool.submit(self._answer_waiting, complete)

    def close(self) -> None:
        """End the threads. Images that still wait get no answer."""
        self._pool.shutdown(cancel_futures=True)

    def check(self) -> None:
        """Raises WorkFailed where an answer has failed."""
        if self._failures:
            raise WorkFailed(f"{len(self._failures)} answers failed, the first because {one_line(self._failures[0])}")

    def _answer_waiting(self, complete: Callable[[int, int], None]) -> None:
        batch: list[tuple[int, int]] = []
        with suppress(IndexError):  # no other image waits
            while len(batch) < self._most:
                batch.append(self._waiting.popleft())
        if not batch:
            return  # another thread took the image
        try:
            classes = self._answer([number for _, number in batch])
        except Exception as error:
            self._failures.append(error)
            classes = [NO_CLASS] * len(batch)
        for (query, _), index in zip(batch, classes, strict=True):
            complete(query, index)
