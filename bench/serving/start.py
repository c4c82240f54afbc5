"""Starts a row's server, with the files that the rivals read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from bench.serving.environment import make_environment
from bench.serving.process import ProcessTree, run_server
from bench.serving.rows import ROWS, command_line
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED


def write_rival_files(scratch: Path) -> None:
    """Write net.onnx, the embedded model's net for one view, and mean.npy, its mean image."""
    checkpoint = Checkpoint.load(EMBEDDED / "checkpoint")
    onnx.save(build_net_graph(checkpoint), scratch / "net.onnx")
    np.save(scratch / "mean.npy", checkpoint.mean)


@contextmanager
def start_row(name: str, envs: Path, scratch: Path, port: int, first: bytes) -> Iterator[ProcessTree]:
    """Run the row's server until the block ends. It has answered the request `first`.

    `scratch` holds the files that it reads and its log. Raises WorkFailed where it does not run here.
    """
    row = ROWS[name]
    python = make_environment(envs / name.removesuffix("-fp32"), row.packages) if row.packages else Path(sys.executable)
    command = command_line(row, python, port, scratch)
    with run_server(command, row.variables, scratch / f"{name}.log", port, first) as tree:
        yield tree
