"""Chunks: a run's unit of work. CHUNK images by their index: decoded, predicted in forwards of a fixed size, one part file.

The forwards of a chunk are the same whenever and wherever it is done, so no float depends on what was done before a stop.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tencrop.common.errors import ImageError, WorkFailed
from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.prediction_records import SCHEMA, chunk_table, write_records
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size, engine_signature
from tencrop.runtime.ensemble import Predictor

CHUNK = 64  # images, the last chunk fewer
SHARE = 4  # of them at most, that a thread decodes at a stretch


@dataclass(frozen=True)
class Plan:
    """What is evaluated: some entries of a data set and, for each, the index of its class in the model's labels."""

    data: Source
    entries: Sequence[Entry]
    labels: Sequence[int]
    subset: (
        Literal["own", "all"] | float
    )  # the data set's own validation images, all, or the share of each class that is held out
    available: int  # how many these are; a limit leaves some of them, evenly spread

    @property
    def chunk_count(self) -> int:
        """How many."""
        return -(-len(self.entries) // CHUNK)

    def chunk(self, chunk: int) -> tuple[Sequence[Entry], Sequence[int]]:
        """Its entries and their labels."""
        here = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        return self.entries[here], self.labels[here]


def part_path(out: Path, chunk: int) -> Path:
    """Where the records of a chunk go."""
    return out / "parts" / f"{chunk:07d}.parquet"


def is_complete(out: Path, work: Plan, chunk: int) -> bool:
    """Whether its part is there, whole, and of its images."""
    try:
        table = pq.read_table(part_path(out, chunk))
    except (OSError, pa.ArrowException):
        return False
    return bool(table.schema == SCHEMA and table["id"].to_pylist() == [entry.id for entry in work.chunk(chunk)[0]])


def run_fingerprint(model: Predictor) -> dict[str, Any]:
    """Everything besides the image that could change a float of its answer. OpenVINO takes as many threads as the process may use cores."""
    return {
        "model": model.sha256,
        "engine": engine_signature(model.engine),
        "number of cores": cores(),
        "size of chunk and forward": [CHUNK, batch_size(model.engine)],
    }


def evaluate_chunks(work: Plan, chunks: Sequence[int], out: Path, model: Predictor) -> Iterator[int]:
    """Do these chunks, one being decoded while the engine works on the one before; after each, its number of images.

    Raises WorkFailed where an image is gone or a part cannot be written; the parts before it stay.
    """
    size = batch_size(model.engine)
    for chunk, images, decoded in _decoded(work, chunks, model.contract, size):
        entries, labels = work.chunk(chunk)
        answers = [model.forward(images[start : start + size]) for start in range(0, len(images), size)]
        mean, each = (np.concatenate(parts)[: len(entries)] for parts in zip(*answers, strict=True))
        table = chunk_table(entries, labels, decoded, mean, each)
        try:
            write_records(part_path(out, chunk), table)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error  # pyarrow has longer words for it
            raise WorkFailed(
                f"{out}: cannot be written ({why}); what is done is kept: make room, then --resume"
            ) from None
        yield len(entries)


def _decoded(
    work: Plan, chunks: Sequence[int], contract: Contract, size: int
) -> Iterator[tuple[int, np.ndarray, list[bool]]]:
    """(chunk, its images uint8 [k size,R,R,3], which of them are images: the others are zeros), the next one on its way meanwhile."""

    def fill(squares: np.ndarray, entries: Sequence[Entry]) -> list[bool]:
        return [
            _decode_into(square, work.data, entry, contract) for square, entry in zip(squares, entries, strict=True)
        ]

    pool = ThreadPoolExecutor(cores(), "decode")
    stretch = max(1, min(SHARE, CHUNK // cores()))

    def begun(chunk: int) -> tuple[np.ndarray, list[Future[list[bool]]]]:
        entries, _ = work.chunk(chunk)
        images = np.zeros((-(-len(entries) // size) * size, contract.resize, contract.resize, 3), np.uint8)
        shares = [slice(start, start + stretch) for start in range(0, len(entries), stretch)]
        return images, [pool.submit(fill, images[: len(entries)][share], entries[share]) for share in shares]

    try:
        following: Any = begun(chunks[0]) if chunks else None
        for chunk, later in zip(chunks, [*chunks[1:], None], strict=True):
            now, following = following, None if later is None else begun(later)
            images, shares = now
            yield chunk, images, [done for share in shares for done in share.result()]
    finally:
        pool.shutdown(cancel_futures=True)  # a stop waits for the stretches that are begun


def _decode_into(square: np.ndarray, data: Source, entry: Entry, contract: Contract) -> bool:
    """False, the square as it was, where it is no image. Raises WorkFailed where it is gone."""
    try:
        square[...] = decode(data.read(entry), contract)[0]
    except ImageError:
        return False
    except OSError as error:
        why = error.strerror or error
        raise WorkFailed(f"{data.root}: {entry.id} is listed but {why}; what is done is kept for --resume") from None
    return True
