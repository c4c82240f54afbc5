"""The first layer's kernels as one picture: the paper's figure 3."""

import io

import numpy as np
from PIL import Image

SCALE = 4  # screen pixels a weight
GAP = 2  # white pixels between kernels
COLUMNS = 16  # 96 kernels in six rows, as in the paper


def draw_filters(weights: np.ndarray) -> bytes:
    """conv1's weights [K,3,h,w] -> PNG; every kernel's own range is stretched over 0..255, its zero in no fixed place."""
    kernels = weights.astype(np.float32).transpose(0, 2, 3, 1)  # [K,h,w,3]
    low = kernels.min((1, 2, 3), keepdims=True)
    high = kernels.max((1, 2, 3), keepdims=True)
    pixels = np.rint((kernels - low) / np.maximum(high - low, 1e-12) * 255).astype(np.uint8)
    pixels = pixels.repeat(SCALE, 1).repeat(SCALE, 2)
    height, width = pixels.shape[1] + GAP, pixels.shape[2] + GAP
    rows = -(-len(pixels) // COLUMNS)
    sheet = np.full((rows * height + GAP, COLUMNS * width + GAP, 3), 255, np.uint8)
    for index, kernel in enumerate(pixels):
        top, left = GAP + index // COLUMNS * height, GAP + index % COLUMNS * width
        sheet[top : top + height - GAP, left : left + width - GAP] = kernel
    packed = io.BytesIO()
    Image.fromarray(sheet).save(packed, "PNG", optimize=True)
    return packed.getvalue()
