"""A run's unit of work: a chunk of images, decoded, predicted in batches of a fixed size, written to one part file.

A chunk has the same batches whenever and wherever it is evaluated, so a stop and a resumption change no float.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tencrop.common.errors import WorkFailed
from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.class_sums import ClassSums
from tencrop.evaluation.part_file import explain_full_disk, write_part
from tencrop.evaluation.plan import Plan
from tencrop.evaluation.prediction_records import by_kind, chunk_table, mark_right
from tencrop.images.decode_processes import run_in_processes
from tencrop.images.errors import Failure, ImageError
from tencrop.images.shared_array import SharedArray, decode_into, decode_into_shared
from tencrop.model.contract import Contract
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size, engine_signature
from tencrop.runtime.ensemble import Predictor

MAX_SHARE = 4  # images of a chunk that one decoding task takes
SHARES = 4  # tasks of a chunk for each thread, so that none waits long for the last
AHEAD = 1  # chunks that are decoded while the engine computes one

Failures = list[Failure]  # for each of some images
DecodeTo = Callable[[int, bytes], Failure]  # decodes an image into the square of this number
Forward = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # a batch -> arrays whose first axis is that of its images


def run_fingerprint(plan: Plan, model: Predictor) -> dict[str, Any]:
    """Everything besides the image that could change a float of its prediction.

    The number of cores is part of it, for OpenVINO starts as many threads as the process may use cores.
    """
    return {
        "model": model.sha256,
        "engine": engine_signature(model.engine),
        "number of cores": cores(),
        "size of chunk and forward": [plan.chunk_size, batch_size(model.engine)],
    }


def evaluate_chunks(plan: Plan, chunks: Sequence[int], out: Path, model: Predictor, workers: int = 0) -> Iterator[int]:
    """Evaluate these chunks in order and yield each one's number of images.

    While the engine computes a chunk, the next one is decoded, by `workers` processes or in threads, and the records of
    the one before are written. As many batches run at once as the model has streams.
    Raises WorkFailed where an image is gone or a part file cannot be written; the part files before it stay.
    """
    names = [label.name for label in model.contract.labels]
    return write_behind(predict_chunks(plan, chunks, model, workers), partial(_write_chunk, plan, out, names))


def write_behind(answers: Iterable[tuple[Any, ...]], write: Callable[..., int]) -> Iterator[int]:
    """Call `write` with each answer while the next one is computed. Yields what it returns, the number of images."""
    with ThreadPoolExecutor(1, "records") as writer:
        written: Future[int] | None = None
        for answer in answers:
            if written:
                yield written.result()
            written = writer.submit(write, *answer)
        if written:
            yield written.result()


def predict_chunks(
    plan: Plan, chunks: Iterable[int], model: Predictor, workers: int = 0
) -> Iterator[tuple[int, Failures, np.ndarray, np.ndarray]]:
    """Predict these chunks in order: (chunk, failures, probabilities [n,C], view_probabilities [n,10,C]) of each.

    The numbers of an image that cannot be decoded mean nothing. Raises WorkFailed where an image is gone.
    """
    for chunk, failures, (mean, views) in forward_chunks(plan, chunks, model, model.forward, workers):
        yield chunk, failures, mean, views


def forward_chunks(
    plan: Plan, chunks: Iterable[int], model: Predictor, forward: Forward, workers: int
) -> Iterator[tuple[int, Failures, list[np.ndarray]]]:
    """Decode these chunks in order and compute them by `forward`, of `model`: (chunk, failures, arrays) of each."""
    size = batch_size(model.engine)
    with ThreadPoolExecutor(model.streams, "forward") as forwards:
        for chunk, images, failures in decode_chunks(plan, chunks, model.contract, size, workers):
            batches = forwards.map(forward, np.split(images, range(size, len(images), size)))
            yield chunk, failures, [np.concatenate(arrays)[: len(failures)] for arrays in zip(*batches, strict=True)]


def _write_chunk(
    plan: Plan, out: Path, names: Sequence[str], chunk: int, failures: Failures, mean: np.ndarray, views: np.ndarray
) -> int:
    """Write the part file of a chunk, and return its number of images. Raises WorkFailed where it cannot be written."""
    entries, labels = plan.chunk(chunk)
    also_right = plan.chunk_also_right(chunk)
    mean, views = plan.restrict(mean, views)
    table = chunk_table(entries, labels, failures, mean, views, names, also_right)
    right = mark_right(labels, also_right, len(names))
    answered = table["entropy"].is_valid().to_numpy()
    sums = {
        kind: ClassSums.from_probabilities(probabilities[answered], right[answered])
        for kind, probabilities in by_kind(mean, views).items()
    }
    with explain_full_disk(out):
        write_part(out, chunk, table, sums)
    return len(entries)


class _Decoding(NamedTuple):
    """A chunk on its way: the array that its images are decoded into, and the tasks that do so."""

    chunk: int
    images: np.ndarray  # uint8 [k * batch size,R,R,3]; zeros behind the last image and where one cannot be decoded
    tasks: list[Future[Failures]]

    def wait(self) -> tuple[int, np.ndarray, Failures]:
        """Return (chunk, images, failures) when all images are decoded. Raises as `_read_and_decode` does."""
        return self.chunk, self.images, [failure for task in self.tasks for failure in task.result()]


def decode_chunks(
    plan: Plan, chunks: Iterable[int], contract: Contract, size: int, workers: int
) -> Iterator[tuple[int, np.ndarray, Failures]]:
    """Yield each chunk as `_Decoding.wait` gives it, with the next AHEAD chunks on their way.

    The memory of its images is used again for later chunks.
    """
    threads = workers or cores()
    length = -(-min(plan.chunk_size, len(plan.entries)) // size) * size
    shape = ((AHEAD + 1) * length, contract.resize, contract.resize, 3)
    share = max(1, min(MAX_SHARE, plan.chunk_size // (SHARES * threads)))

    def start(chunk: int, slot: int) -> _Decoding:
        entries, _ = plan.chunk(chunk)
        begin, count = slot * length, len(entries)
        images = squares[begin : begin + -(-count // size) * size]
        images[count:] = 0
        tasks = [
            pool.submit(_decode_share, plan.data, entries[at : at + share], decode_to, squares, begin + at)
            for at in range(0, count, share)
        ]
        return _Decoding(chunk, images, tasks)

    with ExitStack() as stack:
        shared = stack.enter_context(closing(SharedArray(shape))) if workers else None
        squares = shared.array if shared else np.zeros(shape, np.uint8)
        function = partial(decode_into_shared, shared, contract) if shared else partial(decode_into, squares, contract)
        decode_to = stack.enter_context(run_in_processes(function, workers, [shared.descriptor] if shared else []))
        pool = ThreadPoolExecutor(threads, "decode")
        stack.callback(pool.shutdown, cancel_futures=True)  # waits for the tasks that already run
        started = deque[_Decoding]()
        for number, chunk in enumerate(chunks):
            started.append(start(chunk, number % (AHEAD + 1)))
            if len(started) > AHEAD:
                yield started.popleft().wait()
        while started:
            yield started.popleft().wait()


def _decode_share(
    data: Source, entries: Sequence[Entry], decode_to: DecodeTo, squares: np.ndarray, first: int
) -> Failures:
    """Decode images into the squares from number `first` on. The square of one that cannot be decoded becomes black."""
    failures = []
    for place, entry in enumerate(entries, first):
        failure = _read_and_decode(data, entry, decode_to, place)
        if failure.reason:
            squares[place] = 0
        failures.append(failure)
    return failures


def _read_and_decode(data: Source, entry: Entry, decode_to: DecodeTo, place: int) -> Failure:
    """Return why the image cannot be decoded. Raises WorkFailed where the file is gone."""
    try:
        encoded = data.read(entry)
    except ImageError as error:
        return error.failure
    except OSError as error:
        why = error.strerror or error
        raise WorkFailed(
            f"{data.root}: {entry.id} is listed but {why}", "finished images are kept for --resume"
        ) from None
    return decode_to(place, encoded)
