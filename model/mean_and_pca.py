"""The mean image (section 2 of the paper) and the colour PCA (section 4.1) of a training set."""

from dataclasses import dataclass

import numpy as np


def statistics_shapes(side: int) -> dict[str, tuple[int, ...]]:
    """The shape of each array of PixelStatistics, for images of side x side pixels."""
    return {"mean": (3, side, side), "colour_std": (3,), "colour_vectors": (3, 3)}


@dataclass(frozen=True)
class PixelStatistics:
    """Mean image and colour PCA of all pixels.

    mean: float32 [3,R,R] on the 0..255 scale; colour_vectors: [3,3], a principal direction of RGB per row, largest
    first; colour_std: [3], the standard deviations along them.
    """

    mean: np.ndarray
    colour_std: np.ndarray
    colour_vectors: np.ndarray

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The arrays by their names in a safetensors file."""
        return {"mean": self.mean, "colour_std": self.colour_std, "colour_vectors": self.colour_vectors}

    def mean_to_subtract(self, kind: str, crop: int) -> np.ndarray:
        """The mean image by a recipe's key `mean`: "aligned" is the whole image, "center" its central crop x crop."""
        if kind == "aligned":
            return self.mean
        edge = (self.mean.shape[-1] - crop) // 2
        return np.ascontiguousarray(self.mean[:, edge : edge + crop, edge : edge + crop])

    @classmethod
    def from_sums(cls, n: int, image_sum: np.ndarray, colour_products: np.ndarray) -> "PixelStatistics":
        """Compute the statistics from sums over n uint8 images.

        image_sum: float64 [R,R,3]; colour_products: [3,3], the sum of pixel x pixel^T.
        """
        pixels = n * image_sum.shape[0] * image_sum.shape[1]
        colour_mean = image_sum.sum((0, 1)) / pixels
        covariance = colour_products / pixels - np.outer(colour_mean, colour_mean)
        variances, vectors = np.linalg.eigh(covariance)  # ascending, vectors in columns
        return cls(
            mean=np.ascontiguousarray((image_sum / n).transpose(2, 0, 1), np.float32),
            colour_std=np.sqrt(np.maximum(variances[::-1], 0)).astype(np.float32),
            colour_vectors=np.ascontiguousarray(vectors.T[::-1], np.float32),
        )
