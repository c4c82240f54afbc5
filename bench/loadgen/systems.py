"""The systems under test: our engine in this process, and the servers of bench.serving."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np

from bench.loadgen.workers import Workers
from bench.serving.process import find_free_port, send
from bench.serving.rows import CLIENTS, ROWS, top1_index
from bench.serving.start import start_row
from tencrop.common.errors import WorkFailed, one_line
from tencrop.images.decode import decode
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.engine import batch_size

ENGINE = "engine"
SYSTEMS = (ENGINE, *(name for name, row in ROWS.items() if not row.model))  # those of the embedded model


@contextmanager
def run_engine(classifier: Classifier, images: Sequence[bytes]) -> Iterator[Workers]:
    """Our engine on decoded images, in one thread and in batches of whatever waits."""
    squares = np.stack([decode(image, classifier.contract)[0] for image in images])

    def answer(numbers: Sequence[int]) -> list[int]:
        classes: list[int] = classifier.forward(squares[list(numbers)])[0].argmax(1).tolist()
        return classes

    with closing(Workers(answer, 1, batch_size(classifier.engine))) as workers:
        yield workers


@contextmanager
def run_row(name: str, envs: Path, scratch: Path, images: Sequence[bytes]) -> Iterator[Workers]:
    """A server of bench.serving, and as many clients as its tables have at most. Raises WorkFailed where it fails."""
    row, port = ROWS[name], find_free_port()
    requests = [row.post(row.path, image) for image in images]

    def answer(numbers: Sequence[int]) -> list[int]:
        (number,) = numbers
        status, body = send(port, requests[number])
        if status != HTTPStatus.OK:
            raise WorkFailed(f"the server answers {status} {one_line(body.decode(errors='replace'))}")
        return [top1_index(row, body)]

    with (
        start_row(name, envs, scratch, port, requests[0]),
        closing(Workers(answer, CLIENTS[-1], 1)) as workers,
    ):
        yield workers
