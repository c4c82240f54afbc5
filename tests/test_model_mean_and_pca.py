"""model/mean_and_pca.py: the mean image and the colour PCA equal numpy's mean and cov."""

import numpy as np
import pytest

from tencrop.model.mean_and_pca import PixelStatistics


def images(n: int = 12, side: int = 10) -> np.ndarray:
    """uint8 [n,side,side,3] whose colours lie along a line, more or less."""
    random = np.random.default_rng(0)
    light = random.normal(0, 50, (n, side, side, 1)) * np.array([1.0, 0.9, 0.8])
    pixels: np.ndarray = light + random.normal(0, 9, (n, side, side, 3)) + np.array([130, 120, 105])
    return pixels.clip(0, 255).astype(np.uint8)


def from_stack(stack: np.ndarray) -> PixelStatistics:
    flat = stack.reshape(-1, 3).astype(np.float64)
    return PixelStatistics.from_sums(len(stack), stack.sum(0, dtype=np.float64), flat.T @ flat)


def test_the_mean_image_is_numpys_mean() -> None:
    mean = from_stack(images()).mean
    assert mean.shape == (3, 10, 10)
    assert mean.dtype == np.float32
    assert mean.flags.c_contiguous
    np.testing.assert_allclose(mean, images().astype(np.float64).mean(0).transpose(2, 0, 1), rtol=1e-6)


def test_colour_std_are_standard_deviations_along_the_directions() -> None:
    statistics, pixels = from_stack(images()), images().reshape(-1, 3).astype(np.float64)
    for std, vector in zip(statistics.colour_std, statistics.colour_vectors, strict=True):
        assert (pixels @ vector).std() == pytest.approx(std, rel=1e-4)


def test_directions_diagonalise_numpys_covariance_largest_first() -> None:
    statistics = from_stack(images())
    covariance = np.cov(images().reshape(-1, 3).T.astype(np.float64), bias=True)
    vectors = statistics.colour_vectors.astype(np.float64)
    np.testing.assert_allclose(
        vectors @ covariance @ vectors.T, np.diag(statistics.colour_std.astype(np.float64) ** 2), atol=0.01
    )
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-6)
    assert (np.diff(statistics.colour_std) < 0).all()


def test_the_first_direction_is_lightness() -> None:
    first = from_stack(images()).colour_vectors[0]
    assert abs(first @ np.array([1.0, 0.9, 0.8]) / np.linalg.norm([1.0, 0.9, 0.8])) > 0.99


def test_images_of_one_colour_have_no_deviation_and_no_nan() -> None:
    statistics = from_stack(np.full((3, 4, 4, 3), 200, np.uint8))
    np.testing.assert_allclose(statistics.colour_std, 0, atol=1e-3)
    assert np.isfinite(statistics.colour_vectors).all()


def test_aligned_is_the_whole_mean_and_center_its_middle() -> None:
    statistics = from_stack(images())
    np.testing.assert_array_equal(statistics.mean_to_subtract("aligned", 6), statistics.mean)
    center = statistics.mean_to_subtract("center", 6)
    np.testing.assert_array_equal(center, statistics.mean[:, 2:8, 2:8])
    assert center.flags.c_contiguous


def test_an_odd_margin_is_cut_as_the_center_view_is() -> None:
    statistics = from_stack(images())
    np.testing.assert_array_equal(statistics.mean_to_subtract("center", 7), statistics.mean[:, 1:8, 1:8])


def test_tensors_are_the_constructors_arguments() -> None:
    statistics = from_stack(images())
    again = PixelStatistics(**statistics.to_tensors())
    for name, value in statistics.to_tensors().items():
        np.testing.assert_array_equal(getattr(again, name), value)
