"""bench/engine.py: all rows compute the same answers, and the table shows what was measured."""

import threading

import numpy as np
import pytest

from bench.engine import Figures, measure_row, open_ours, open_torch, render_head, render_product, render_row
from bench.engine_row import Row, measure_speed
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image


@pytest.mark.slow
def test_all_rows_compute_the_same_answer(embedded: Checkpoint) -> None:
    images = formula_image(0, 256, 256)[None]
    device, rows = open_ours(EMBEDDED, "cpu", "openvino", [1, 2])
    rows |= open_torch(embedded, device, ["fp32", "bf16"])
    assert device == "cpu"
    assert {"openvino, fp32", "openvino, fp32, 2 streams", "torch eager, fp32", "torch eager, bf16"} <= rows.keys()
    exact = rows["torch eager, fp32"].predict(images)
    for name, row in rows.items():
        np.testing.assert_allclose(row.predict(images), exact, atol=1e-4 if "fp32" in name else 2e-2)
    assert {row.precision for row in rows.values()} >= {"fp32", "bf16"}
    ours, theirs = rows["openvino, fp32"], rows["torch eager, fp32"]
    assert 5 < ours.gflop < theirs.gflop < 25  # torch computes each view by itself


def test_only_an_engine_that_needs_it_has_a_deterministic_row() -> None:
    assert list(open_ours(EMBEDDED, "cpu", "onnxruntime", [1, 2])[1]) == [
        "onnxruntime, fp32",
        "onnxruntime, fp32, 2 streams",
        "onnxruntime, fp32, forward passes of 1",
    ]


@pytest.mark.parametrize("callers", [1, 3])
def test_speed_counts_the_images_of_whole_batches_of_all_callers(callers: int) -> None:
    calls: list[int] = []
    together = threading.Barrier(callers)

    def predict(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        if len(calls) <= callers:
            together.wait(30)  # in the warm-up
        return images

    assert measure_speed(Row(predict, "fp32", 1, callers), np.zeros((8, 1)), 0.01) > 8 / 0.01
    assert set(calls) == {8} and len(calls) > 3 * callers


def test_a_row_whose_bits_depend_on_the_batch_is_told() -> None:
    images = np.arange(8, dtype=np.uint8)[:, None]

    def exact(batch: np.ndarray) -> np.ndarray:
        return batch.astype(np.float32)

    def rounded(batch: np.ndarray) -> np.ndarray:
        return exact(batch) + np.float32(1e-6 * len(batch))

    repeated = np.concatenate([images, images])
    figures = [measure_row(Row(each, "fp32", 1), repeated, exact(images), [1, 16], 0.0) for each in (exact, rounded)]
    assert [each.same_bits for each in figures] == [True, False]
    assert figures[0].difference == 0 and 0 < figures[1].difference < 1e-5


def test_the_table_has_a_row_per_engine_and_a_column_per_batch_size() -> None:
    head, rule = render_head([1, 32]).splitlines()
    assert head == ("|  | batches of 1 | batches of 32 | GFLOP/s | of the product | largest difference | same bits |")
    assert rule.count("|") == head.count("|")
    ours = render_row("ours", Figures([10.44, 199.6], 2e-4, True), 2.0, 500.0)
    assert ours == "| ours | 10.4 | 200 | 399 | 0.80 | 2.0e-04 | yes |"
    torchs = render_row("torch", Figures([9, 8], 0, False), 12.0, None)
    assert torchs == "| torch | 9.0 | 8.0 | 108 |  | 0.0e+00 | no |"
    product = render_product("bf16", 411.4, [1, 32])
    assert product == "| matrix product of this machine, bf16 |  |  | 411 | 1.00 |  |  |"
