"""Runs a row: makes its environment, lets it answer both files, and compares the answers with onnxruntime's."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.runtimes.files import Task, read_probabilities
from bench.runtimes.rows import RUNNERS, Row
from bench.serving.environment import make_environment
from tencrop.common.errors import WorkFailed

ROOT = Path(__file__).parents[2]
LIMIT = 1800.0  # seconds that a row may take for one file
ENDS = 30, 90  # characters that are kept of a longer reason (OpenCV names the cause last)

Found = dict[str, float | str]  # by the file's name: the largest difference of a probability, or why there is none


def measure_row(row: Row, folder: Path, tasks: Mapping[str, Task]) -> Found:
    """Run the row in the environment `folder`, which is made where it is missing."""
    try:
        make_environment(folder, row.packages, row.npm)
    except WorkFailed as error:
        return dict.fromkeys(tasks, shorten(f"not installable: {error}", folder))
    return {name: measure_task(row, folder, task) for name, task in tasks.items()}


def measure_task(row: Row, folder: Path, task: Task) -> float | str:
    """The largest difference of a probability, or why the runtime has no answer."""
    command = [part.format(folder=folder, runners=RUNNERS) for part in row.command.split()]
    command += [str(task.model), task.output, *map(str, task.batches)]
    with TemporaryDirectory() as scratch:
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), row.path]))}
        try:
            done = subprocess.run(
                command, cwd=scratch, env=variables, capture_output=True, text=True, errors="replace", timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {LIMIT:g} s"
        if done.returncode:
            return shorten(describe_failure(done), folder, task.model.parent)
        answers = [np.fromfile(f"{scratch}/{batch.name}.answer", np.float32) for batch in task.batches]
    return compare(answers, task)


def describe_failure(done: "subprocess.CompletedProcess[str]") -> str:
    """The last line of a program that failed, or the signal that ended it."""
    if done.returncode < 0:
        return f"ends by {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"ends with {done.returncode}"])[-1]


def shorten(reason: str, *folders: Path) -> str:
    """A reason as a cell of Markdown, without the machine's own folders."""
    for folder in folders:
        reason = reason.replace(f"{folder}/", "")
    line = " ".join(reason.replace("|", "/").split())
    first, last = ENDS
    return line if len(line) <= first + last else f"{line[:first]} ... {line[-last:]}"


def compare(answers: Sequence[np.ndarray], task: Task) -> float | str:
    """The largest difference of a probability. answers: the output's values of each batch, flat."""
    if [each.size for each in answers] != [each.size for each in task.expected]:
        sizes = (" and ".join(f"{each.size}" for each in values) for values in (answers, task.expected))
        return " values instead of ".join(sizes)
    differences = [
        np.abs(read_probabilities(task.output, values.reshape(expected.shape)) - expected).max()
        for values, expected in zip(answers, task.expected, strict=True)
    ]
    return float(np.max(differences))  # which is no number where one of them is none
