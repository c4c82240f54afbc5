"""bench/engine.py: all rows compute the same answers, and the table shows what was measured."""

import numpy as np
import pytest

from bench.engine import measure_speed, open_ours, open_torch, render_table
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image


@pytest.mark.slow
def test_all_rows_compute_the_same_answer(embedded: Checkpoint) -> None:
    images = formula_image(0, 256, 256)[None]
    device, rows = open_ours(EMBEDDED, "cpu")
    rows |= open_torch(embedded, device)
    assert device == "cpu" and {"openvino, fp32", "torch eager, fp32", "torch eager, bf16"} <= rows.keys()
    exact = rows["torch eager, fp32"](images)
    for name, row in rows.items():
        np.testing.assert_allclose(row(images), exact, atol=1e-4 if name.endswith("fp32") else 2e-2)


def test_speed_counts_the_images_of_whole_batches() -> None:
    calls: list[int] = []

    def predict(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return images

    assert measure_speed(predict, np.zeros((8, 1)), 0.01) > 8 / 0.01
    assert set(calls) == {8} and len(calls) > 3


def test_the_table_has_a_row_per_engine_and_a_column_per_batch_size() -> None:
    head, rule, row = render_table({"ours": [10.4, 99.6]}, {"ours": 2e-4}, [1, 32]).splitlines()
    assert head == "| | batches of 1 | batches of 32 | largest difference |"
    assert rule.count("|") == head.count("|") and row == "| ours | 10 | 100 | 2.0e-04 |"
