"""A run's unit of work: a chunk of images, decoded, predicted in batches of a fixed size, written to one part file.

A chunk has the same batches whenever and wherever it is evaluated, so a stop and a resumption change no float.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.errors import WorkFailed
from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.plan import Plan
from tencrop.evaluation.prediction_records import SCHEMA, chunk_table, write_records
from tencrop.images.decode import decode
from tencrop.images.errors import Failure, ImageError
from tencrop.model.contract import Contract
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size, engine_signature
from tencrop.runtime.ensemble import Predictor

MAX_SHARE = 4  # images of a chunk that one decoding task takes

Failures = list[Failure]  # for each of some images


def part_path(out: Path, chunk: int) -> Path:
    """The file of a chunk's records until the run is finished."""
    return out / "parts" / f"{chunk:07d}.parquet"


def is_complete(out: Path, plan: Plan, chunk: int) -> bool:
    """Return whether the chunk's part file is there, undamaged, of this version and of these images."""
    try:
        table = pq.read_table(part_path(out, chunk))
    except (OSError, pa.ArrowException):
        return False
    return bool(table.schema == SCHEMA and table["id"].to_pylist() == [entry.id for entry in plan.chunk(chunk)[0]])


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


def evaluate_chunks(plan: Plan, chunks: Sequence[int], out: Path, model: Predictor) -> Iterator[int]:
    """Evaluate these chunks in order and yield each one's number of images; the next is decoded while the engine runs.

    Raises WorkFailed where an image is gone or a part file cannot be written; the part files before it stay.
    """
    size = batch_size(model.engine)
    for chunk, images, failures in _decode_chunks(plan, chunks, model.contract, size):
        entries, labels = plan.chunk(chunk)
        batches = [model.forward(images[start : start + size]) for start in range(0, len(images), size)]
        mean, views = (np.concatenate(arrays)[: len(entries)] for arrays in zip(*batches, strict=True))
        table = chunk_table(entries, labels, failures, mean, views)
        try:
            write_records(part_path(out, chunk), table)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error  # pyarrow has longer words for it
            raise WorkFailed(
                f"{out}: cannot be written ({why})", "finished images are kept: make room, then --resume"
            ) from None
        yield len(entries)


class _Decoding(NamedTuple):
    """A chunk on its way: the array that its images are decoded into, and the tasks that do so."""

    chunk: int
    images: np.ndarray  # uint8 [k * batch size,R,R,3]; zeros behind the last image and where one cannot be decoded
    tasks: list[Future[Failures]]

    def wait(self) -> tuple[int, np.ndarray, Failures]:
        """Return (chunk, images, failures) when all images are decoded. Raises as `_decode_into` does."""
        return self.chunk, self.images, [failure for task in self.tasks for failure in task.result()]


def _decode_chunks(
    plan: Plan, chunks: Sequence[int], contract: Contract, size: int
) -> Iterator[tuple[int, np.ndarray, Failures]]:
    """Yield each chunk as `_Decoding.wait` gives it, with the next chunk already in the threads."""
    pool = ThreadPoolExecutor(cores(), "decode")
    share = max(1, min(MAX_SHARE, plan.chunk_size // cores()))

    def start(chunk: int) -> _Decoding:
        entries, _ = plan.chunk(chunk)
        images = np.zeros((-(-len(entries) // size) * size, contract.resize, contract.resize, 3), np.uint8)
        parts = [slice(first, min(first + share, len(entries))) for first in range(0, len(entries), share)]
        tasks = [pool.submit(_decode_share, images[part], plan.data, entries[part], contract) for part in parts]
        return _Decoding(chunk, images, tasks)

    try:
        started = deque[_Decoding]()
        for chunk in chunks:
            started.append(start(chunk))
            if len(started) > 1:
                yield started.popleft().wait()
        while started:
            yield started.popleft().wait()
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the tasks that already run


def _decode_share(squares: np.ndarray, data: Source, entries: Sequence[Entry], contract: Contract) -> Failures:
    return [_decode_into(square, data, entry, contract) for square, entry in zip(squares, entries, strict=True)]


def _decode_into(square: np.ndarray, data: Source, entry: Entry, contract: Contract) -> Failure:
    """Return why the image cannot be decoded, and then leave the square. Raises WorkFailed where the file is gone."""
    try:
        square[...] = decode(data.read(entry), contract)[0]
    except ImageError as error:
        return error.failure
    except OSError as error:
        why = error.strerror or error
        raise WorkFailed(
            f"{data.root}: {entry.id} is listed but {why}", "finished images are kept for --resume"
        ) from None
    return Failure()
