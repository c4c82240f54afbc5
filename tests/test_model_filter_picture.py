"""model/filter_picture.py: draws the paper's figure 3 as PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from tencrop.model.filter_picture import COLUMNS, GAP, SCALE, draw_filters


def read(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


@pytest.mark.parametrize(("kernels", "rows"), [(96, 6), (16, 1), (17, 2), (8, 1)])
def test_kernels_lie_sixteen_to_a_row_with_gaps_all_around(kernels: int, rows: int) -> None:
    picture = read(draw_filters(np.random.default_rng(0).normal(size=(kernels, 3, 11, 11)).astype(np.float32)))
    step = 11 * SCALE + GAP
    assert picture.shape == (rows * step + GAP, COLUMNS * step + GAP, 3)
    assert (picture[:GAP] == 255).all()
    assert (picture[:, :GAP] == 255).all()
    assert (picture[-GAP:] == 255).all()
    assert (picture[:, -GAP:] == 255).all()


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_each_kernel_is_stretched_over_0_to_255_in_its_place(kind: type) -> None:
    weights: np.ndarray = np.random.default_rng(0).normal(0, [[[[0.01]]], [[[5.0]]]] * 9, (18, 3, 5, 5)).astype(kind)
    picture, step = read(draw_filters(weights)), 5 * SCALE + GAP
    for index, kernel in enumerate(weights.astype(np.float64)):
        expected = np.rint((kernel - kernel.min()) / (kernel.max() - kernel.min()) * 255)
        top, left = GAP + index // 16 * step, GAP + index % 16 * step
        tile = picture[top : top + 5 * SCALE, left : left + 5 * SCALE]
        for y in range(5 * SCALE):
            for x in range(5 * SCALE):
                assert np.abs(tile[y, x] - expected[:, y // SCALE, x // SCALE]).max() <= 1


def test_a_flat_kernel_is_drawn_without_a_division_by_zero() -> None:
    picture = read(draw_filters(np.full((1, 3, 3, 3), 0.5, np.float32)))
    assert (picture[GAP : GAP + 3 * SCALE, GAP : GAP + 3 * SCALE] == 0).all()
