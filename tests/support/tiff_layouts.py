"""Layouts of TIFF, each written byte by byte from known samples, and the picture that the samples mean."""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np
import oracles
from PIL import Image

from support.pictures import encode

SIDE = 24  # pixels; no multiple of a tile's side
TILE = 16
STRIP_ROWS = 8
GREY_INVERTED, GREY, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 4, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
NONE, LZW, JPEG, ADOBE_DEFLATE, DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
SAMPLES = {GREY_INVERTED: 1, GREY: 1, RGB: 3, PALETTE: 1, MASK: 1, CMYK: 4, YCBCR: 3, CIELAB: 3}


@dataclass(frozen=True)
class Layout:
    """The layout of a TIFF's samples; the numbers are those of its tags."""

    photometric: int
    bits: int
    format: int = UNSIGNED
    extra: tuple[int, ...] = ()  # 0 unspecified, 1 premultiplied alpha, 2 alpha
    planar: int = 1
    compression: int = NONE
    predictor: int = 1
    order: Literal["<", ">"] = "<"
    tiled: bool = False
    fill_order: int = 1

    @property
    def samples(self) -> int:
        return SAMPLES[self.photometric] + len(self.extra)

    @property
    def dtype(self) -> np.dtype:
        size = 8 if self.bits <= 8 else -(-self.bits // 16) * 16
        return np.dtype(f"{' uif'[self.format]}{size // 8}")


def make_samples(layout: Layout) -> np.ndarray:
    """[SIDE,SIDE,samples]: smooth, no two corners or channels alike, over the whole range of the type."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    if layout.photometric == CIELAB:
        lab = np.stack([100 + 100 * x, 30 * y - 15, 30 * x * y - 15], -1)  # greyish, so inside of sRGB
        return np.asarray(np.rint(lab).astype(np.int64).astype(layout.dtype))
    planes = np.stack([x, y, 1 - x * y, (x + y) / 2, x * y, 1 - y], -1)[..., : layout.samples]
    if layout.extra:
        alpha = SAMPLES[layout.photometric]
        planes[..., alpha] = 0.4 + 0.6 * planes[..., alpha]
        if layout.extra[0] == 1:
            planes[..., :alpha] *= planes[..., alpha : alpha + 1]
    if layout.format == FLOAT:
        return np.asarray((planes * 300 - 30).astype(layout.dtype))
    most = 2 ** (layout.bits - (layout.format == SIGNED)) - 1
    least = -most if layout.format == SIGNED else 0
    whole = np.rint(least + planes * (most - least))
    return np.asarray(whole.clip(least, np.nextafter(most, 0) if layout.bits == 64 else most).astype(layout.dtype))


def palette_of(layout: Layout) -> np.ndarray:
    """uint16 [2^bits,3]."""
    i = np.arange(2**layout.bits) / (2**layout.bits - 1)
    return np.asarray(np.rint(np.stack([i, 1 - i, i * i], -1) * 255).astype(np.uint16) * 257)


def expect_rgb(layout: Layout, samples: np.ndarray) -> np.ndarray:
    """The picture that the samples mean by the TIFF specification, float [SIDE,SIDE,3] in 0..255.

    Grey of 16 and 32 bits is clipped to 0..65535, float grey to 0..255.
    """
    full = 255 if layout.format == FLOAT else 2 ** (16 if layout.format == SIGNED else min(layout.bits, 16)) - 1
    values = samples.astype(np.float64).clip(0, full) / full
    count = SAMPLES[layout.photometric]
    colour, alpha = values[..., :count], np.ones((SIDE, SIDE, 1))
    if layout.extra[:1] in ((1,), (2,)):
        alpha = values[..., count, None]
        colour = colour / alpha if layout.extra[0] == 1 else colour
    match layout.photometric:
        case 0:
            colour = 1 - colour
        case 3:
            colour = palette_of(layout)[samples[..., 0].astype(int)] / 65535
        case 5:
            colour = (1 - colour[..., :3]) * (1 - colour[..., 3:4])
        case 6:
            y, blue, red = np.moveaxis(colour * 255, -1, 0)
            green = y - 0.344136 * (blue - 128) - 0.714136 * (red - 128)
            colour = np.stack([y + 1.402 * (red - 128), green, y + 1.772 * (blue - 128)], -1).clip(0, 255) / 255
        case 8:
            lab = samples[..., :3].astype(np.uint8).astype(np.float64)
            lab[..., 0] /= 2.55
            lab[..., 1:] = samples[..., 1:3].astype(np.uint8).view(np.int8)
            colour = oracles.lab_to_srgb(lab) / 255
    return np.asarray(np.broadcast_to((colour * alpha + 1 - alpha) * 255, (SIDE, SIDE, 3)))


def write(layout: Layout, samples: np.ndarray) -> bytes:
    """The file: header, blocks, directory."""
    planes = [samples] if layout.planar == 1 else [samples[..., i : i + 1] for i in range(layout.samples)]
    blocks = [_encode(layout, block) for plane in planes for block in _cut(layout, plane)]
    starts = np.cumsum([8, *map(len, blocks)])
    places, sizes = starts[:-1].tolist(), [*map(len, blocks)]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [SIDE]),
        257: ("I", [SIDE]),
        258: ("H", [layout.bits] * layout.samples),
        259: ("H", [layout.compression]),
        262: ("H", [layout.photometric]),
        266: ("H", [layout.fill_order]),
        277: ("H", [layout.samples]),
        284: ("H", [layout.planar]),
        317: ("H", [layout.predictor]),
        339: ("H", [layout.format] * layout.samples),
    }
    if layout.tiled:
        tags |= {322: ("I", [TILE]), 323: ("I", [TILE]), 324: ("I", places), 325: ("I", sizes)}
    else:
        tags |= {273: ("I", places), 278: ("I", [STRIP_ROWS]), 279: ("I", sizes)}
    if layout.photometric == PALETTE:
        tags[320] = "H", palette_of(layout).T.ravel().tolist()
    if layout.photometric == YCBCR:
        tags[530] = "H", [1, 1]
    if layout.extra:
        tags[338] = "H", list(layout.extra)
    return assemble(b"".join(blocks), tags, layout.order)


def assemble(body: bytes, tags: dict[int, tuple[str, list[int]]], order: str) -> bytes:
    """A TIFF of these blocks, which begin at byte 8, and tags: number -> (struct's letter, numbers)."""
    body += bytes(len(body) % 2)
    far, entries, start = b"", b"", 8 + len(body)
    for tag, (letter, numbers) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(value) > 4:
            value, far = struct.pack(order + "I", start + len(far)), far + value
        kind = {"B": 1, "H": 3, "I": 4}[letter]
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + value.ljust(4, b"\0")
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start + len(far))
    return header + body + far + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def _cut(layout: Layout, plane: np.ndarray) -> list[np.ndarray]:
    """Strips, or tiles that repeat the last pixel beyond the edge."""
    if not layout.tiled:
        return [plane[top : top + STRIP_ROWS] for top in range(0, SIDE, STRIP_ROWS)]
    more = -SIDE % TILE
    plane = np.pad(plane, ((0, more), (0, more), (0, 0)), "edge")
    return [plane[y : y + TILE, x : x + TILE] for y in range(0, SIDE, TILE) for x in range(0, SIDE, TILE)]


def _encode(layout: Layout, block: np.ndarray) -> bytes:
    if layout.compression == JPEG:
        return _encode_jpeg(layout, block)
    if layout.predictor == 2:
        whole = block.view(f"u{block.dtype.itemsize}")
        block = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
    rows = [_pack_row(layout, row.ravel()) for row in block]
    if layout.predictor == 3:
        rows = [_predict_float(layout, row.ravel(), block.shape[2]) for row in block]
    data = b"".join(rows)
    match layout.compression:
        case 5:
            data = bytes(imagecodecs.lzw_encode(data))
        case 8 | 32946:
            data = zlib.compress(data)
        case 32773:
            data = b"".join(bytes(imagecodecs.packbits_encode(row)) for row in rows)
    if layout.fill_order == 2:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()
    return data


def _pack_row(layout: Layout, row: np.ndarray) -> bytes:
    if layout.bits == 8 * row.dtype.itemsize:
        return row.astype(row.dtype.newbyteorder(layout.order)).tobytes()
    whole = row.astype(row.dtype.newbyteorder(">")).view(np.uint8).reshape(len(row), -1)
    return np.packbits(np.unpackbits(whole, axis=1)[:, -layout.bits :].ravel()).tobytes()


def _predict_float(layout: Layout, row: np.ndarray, samples: int) -> bytes:
    """Adobe's floating point predictor: the bytes by significance, and of those the differences."""
    planes = row.astype(row.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, row.dtype.itemsize).T.ravel()
    before = np.concatenate([np.zeros(samples, np.uint8), planes[:-samples]])
    return bytes((planes - before).tobytes())


def _encode_jpeg(layout: Layout, block: np.ndarray) -> bytes:
    if block.shape[2] == 4:
        coded = imagecodecs.jpeg8_encode(block, level=100, colorspace="CMYK", outcolorspace="CMYK", subsampling="444")
        return bytes(coded)
    if block.shape[2] == 1:
        return encode(Image.fromarray(block[..., 0]), "JPEG", quality=100)
    mode = "RGB" if layout.photometric == RGB else "YCbCr"
    image = Image.frombytes(mode, (block.shape[1], block.shape[0]), block.tobytes())
    return encode(image, "JPEG", quality=100, subsampling=0, keep_rgb=mode == "RGB")
