"""Answers batches by one runtime. It runs in the environment of a row, which has numpy and that runtime.

python -m bench.runtimes.answer RUNNER MODEL OUTPUT BATCH.npy ...

RUNNER is a module of bench/runtimes/runners/. The output's values for BATCH.npy go to BATCH.npy.answer in the working
folder, float32 without a head.
"""

import importlib
import sys
from pathlib import Path

import numpy as np


def main(runner: str, model: str, output: str, *batches: str) -> None:
    """Answer every batch by one opened model; an error is one line."""
    try:
        forward = importlib.import_module(f"bench.runtimes.runners.{runner}").open_model(Path(model), output)
        for batch in batches:
            np.asarray(forward(np.load(batch)), np.float32).tofile(f"{Path(batch).name}.answer")
    except Exception as error:  # of any library
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    main(*sys.argv[1:])
