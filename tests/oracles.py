"""Plain numpy oracles of the paper and the 2012 program: slow loops that share nothing with the code."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def conv(x: Array, weight: Array, bias: Array, stride: int, pad: tuple[int, int], groups: int) -> Array:
    """[N,C,H,W] with pad[0] zeros above and left, pad[1] below and right; each group of kernels sees its own maps."""
    before, behind = pad
    x = np.pad(x, ((0, 0), (0, 0), (before, behind), (before, behind)))
    kernels, seen, size, _ = weight.shape
    side = (x.shape[2] - size) // stride + 1
    out = np.zeros((len(x), kernels, side, side))
    for kernel in range(kernels):
        group = kernel * groups // kernels
        own = x[:, group * seen : (group + 1) * seen]
        for row in range(side):
            for col in range(side):
                window = own[:, :, row * stride : row * stride + size, col * stride : col * stride + size]
                out[:, kernel, row, col] = (window * weight[kernel]).sum((1, 2, 3)) + bias[kernel]
    return out


def lrn(x: Array, size: int, alpha_each: float, beta: float, k: float, groups: int) -> Array:
    """b = a / (k + alpha_each * sum of the squares of up to `size` neighbouring maps of the same group)^beta."""
    out = np.zeros_like(x)
    maps = x.shape[1]
    width = maps // groups
    for i in range(maps):
        first = i // width * width
        neighbours = range(max(first, i - size // 2), min(first + width - 1, i + size // 2) + 1)
        total = sum(x[:, j] ** 2 for j in neighbours)
        out[:, i] = x[:, i] / (k + alpha_each * total) ** beta
    return out


def within_map_lrn(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """x / (k + alpha / size^2 * sum of squares in the size x size window)^beta, nothing beyond the edge."""
    out = np.zeros_like(x)
    half = size // 2
    for row in range(x.shape[2]):
        for col in range(x.shape[3]):
            window = x[:, :, max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
            scale = k + alpha / size**2 * (window**2).sum((2, 3))
            out[:, :, row, col] = x[:, :, row, col] / scale**beta
    return out


def max_pool(x: Array, size: int, stride: int) -> Array:
    """Windows start at 0, stride, 2 stride, ... until the last pixel is covered; the last window may hang over."""
    starts = [0]
    while starts[-1] + size < x.shape[2]:
        starts.append(starts[-1] + stride)
    return np.stack(
        [np.stack([x[:, :, r : r + size, c : c + size].max((2, 3)) for c in starts], -1) for r in starts],
        -2,
    )


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def lab_to_srgb(lab: Array) -> Array:
    """CIELAB (D50; L 0..100) [...,3] -> sRGB 0..255, through XYZ, the Bradford D50 -> D65 matrix and the sRGB curve."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.96422, 1.0, 0.82521])
    to_d65 = np.array(
        [[0.9555766, -0.0230393, 0.0631636], [-0.0282895, 1.0099416, 0.0210077], [0.0122982, -0.020483, 1.3299098]]
    )
    to_rgb = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
    )
    linear = np.clip(xyz @ to_d65.T @ to_rgb.T, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
