"""Reads the CPU time of a server's processes, and which of them holds the engine."""

import os
from pathlib import Path

from bench.serving.process import ProcessTree

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
ENGINE = "onnxruntime_pybind11_state"  # a library that the engine's process alone has loaded


def read_cpu_seconds(tree: ProcessTree) -> dict[int, float]:
    """User and system seconds of each process, by its id."""
    return {process: read_process(process) for process in tree.processes()}


def find_engine(tree: ProcessTree) -> int:
    """The id of the process that holds the engine."""
    (engine,) = [process for process in tree.processes() if ENGINE in Path(f"/proc/{process}/maps").read_text()]
    return engine


def read_process(process: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK  # utime, stime
