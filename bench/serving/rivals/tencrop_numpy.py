"""The paper's preprocessing as a user would write it with Pillow and numpy."""

import io

import numpy as np
from PIL import Image

SIDE, CROP = 256, 224
CORNERS = ((0, 0), (0, 32), (16, 16), (32, 0), (32, 32))


def decode_square(data: bytes) -> np.ndarray:
    """An encoded image -> its central square, uint8 [256,256,3]."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    image = image.resize((SIDE * image.width // short, SIDE * image.height // short), Image.Resampling.BILINEAR)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def ten_crops(squares: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """uint8 [N,256,256,3] -> float32 [N*10,3,224,224], the mean image [3,256,256] subtracted."""
    x = squares.transpose(0, 3, 1, 2).astype(np.float32) - mean
    crops = [x[:, :, top : top + CROP, left : left + CROP] for top, left in CORNERS]
    return np.stack([*crops, *(crop[..., ::-1] for crop in crops)], axis=1).reshape(-1, 3, CROP, CROP)


def average_softmax(logits: np.ndarray) -> np.ndarray:
    """[N*10,C] -> the mean of the ten softmaxes, [N,C]."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    each = shifted / shifted.sum(axis=1, keepdims=True)
    return np.asarray(each.reshape(-1, 10, logits.shape[1]).mean(axis=1))
