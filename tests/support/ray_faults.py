"""What Ray runs first in each of its processes in test_evaluation_ray: chunks get small, and some of the processes die."""

import os
import signal
from pathlib import Path

import pyarrow as pa

from tencrop.evaluation import chunks as chunk
from tencrop.evaluation.prediction_records import write_records

CHUNK = 4
LIVES = "TENCROP_TEST_LIVES"  # names a file; as many processes die as it holds letters


def small_and_mortal() -> None:
    """Who is to write the second chunk dies before it, while LIVES lasts."""
    chunk.CHUNK = CHUNK
    write, lives = write_records, Path(os.environ[LIVES])

    def deadly(path: Path, table: pa.Table) -> None:
        left = lives.read_text()
        if left and path.name == "0000001.parquet":
            lives.write_text(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, table)

    vars(chunk)["write_records"] = deadly
