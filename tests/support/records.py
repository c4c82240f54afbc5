"""Records of made-up probabilities, for the tests of what is computed from them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tencrop.dataset.source import Entry
from tencrop.evaluation.prediction_records import chunk_table
from tencrop.images.errors import Failure


def make_records(
    labels: np.ndarray, mean: np.ndarray, views: np.ndarray, failures: Sequence[Failure] | None = None
) -> pa.Table:
    """Make the records of n images from labels [n] and probabilities [n,C] and [n,10,C]."""
    entries = [Entry(f"{number:05}.jpg", int(label)) for number, label in enumerate(labels)]
    names = [f"words of {c}" for c in range(mean.shape[1])]
    return chunk_table(entries, labels.tolist(), failures or [Failure("", "")] * len(labels), mean, views, names)
