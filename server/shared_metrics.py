"""Files in which the processes of one server add up their metrics, by the multiprocess mode of prometheus_client."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import values

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name of the folder of the files
KINDS = ("counter", "histogram", "gauge_max")  # of the metrics in metrics.py; each process has a file of each
FILE_BYTES = 512 << 10  # of a file, enough for some 40 models


def reserve_metrics(folder: Path, rows: Iterable[int]) -> None:
    """Take room on the disk for the files of the processes of these rows. Raises OSError where there is none.

    The files are mapped. The kernel ends a process that writes to a hole of one where the disk is full.
    """
    for name in (f"{kind}_{row}.db" for row in rows for kind in KINDS):
        with (folder / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, FILE_BYTES)


def share_metrics(folder: Path, row: int) -> None:
    """Keep the numbers of all metrics that are made from now on in files of `folder`, which add up.

    `row` is a number that no other process that lives has; the next process of that number goes on with its numbers.
    """
    os.environ[FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: row)  # type: ignore[no-untyped-call]
