"""A thin net's recipe for the tiny data set, three batches per epoch, and comparisons of its runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.model.checkpoint import Checkpoint
from tencrop.model.run_checkpoints import list_checkpoints

OVERRIDES = [  # of recipe caltech101
    "compile=false",
    "precision=fp32",
    "optim.batch=8",
    "optim.lr=0.003",
    "optim.bias_lr=0.003",
    "net.dropout.p=0.2",
    "epochs=4",
    "events=[{after = 1, divide = 2.0}, {after = 3, divide = 5.0, noise = false, frozen = ['conv1']}]",
    *(f"net.conv{i}.channels={channels}" for i, channels in ((1, 8), (2, 16), (3, 16), (4, 16), (5, 16))),
    *(f"net.conv{i}.init_std=0.08" for i in (2, 3, 4, 5)),
    *(f"net.fc{i}.units=64" for i in (6, 7)),
    *(f"net.fc{i}.init_std=0.1" for i in (6, 7, 8)),
]
TIMES = ("seconds", "images_per_s")


def ignore_progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
    """Report nothing."""


def load_last(out: Path) -> Checkpoint:
    return Checkpoint.load(list_checkpoints(out)[-1])


def drop_times(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in checkpoint.progress["history"]]


def assert_equal(a: Checkpoint, b: Checkpoint) -> None:
    """Compare weights, velocities and the history without its times, bit for bit."""
    assert drop_times(a) == drop_times(b)
    for ours, theirs in ((a.weights, b.weights), (a.training, b.training)):
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value, err_msg=name)
