"""Draws the first layer's filters as one picture: the paper's figure 3."""

import io

import numpy as np
from PIL import Image

SCALE = 4  # screen pixels per weight
GAP = 2  # white pixels between filters
COLUMNS = 16  # 96 filters in six rows, as in the paper


def draw_filters(weights: np.ndarray) -> bytes:
    """Draw conv1's weights [K,3,h,w] as a PNG.

    Each filter's own range is stretched over 0..255, so zero has no fixed grey.
    """
    filters = weights.astype(np.float32).transpose(0, 2, 3, 1)  # [K,h,w,3]
    low = filters.min((1, 2, 3), keepdims=True)
    high = filters.max((1, 2, 3), keepdims=True)
    pixels = np.rint((filters - low) / np.maximum(high - low, 1e-12) * 255).astype(np.uint8)
    pixels = pixels.repeat(SCALE, 1).repeat(SCALE, 2)
    height, width = pixels.shape[1] + GAP, pixels.shape[2] + GAP
    rows = -(-len(pixels) // COLUMNS)
    sheet = np.full((rows * height + GAP, COLUMNS * width + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(pixels):
        top, left = GAP + index // COLUMNS * height, GAP + index % COLUMNS * width
        sheet[top : top + height - GAP, left : left + width - GAP] = tile
    packed = io.BytesIO()
    Image.fromarray(sheet).save(packed, "PNG", optimize=True)
    return packed.getvalue()
