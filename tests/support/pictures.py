"""Pictures for the tests of images/: by formula, encoded by Pillow or byte by byte, and their square by torchvision."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tencrop.images.decode import decode
from tencrop.model.contract import Contract

register_heif_opener()  # so that Pillow encodes HEIC
CONTRACT = Contract()
ORIENTATION = 0x0112  # the EXIF tag
TORCHVISION = Compose([Resize(256, InterpolationMode.BILINEAR, antialias=True), CenterCrop(256)])


def picture(width: int, height: int) -> np.ndarray:
    """A picture by a formula, uint8 [height,width,3]: smooth and rough in each channel, no two corners alike."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 120 * np.sin(x * x / 37 + y / 5)
    green = (x * 255) / max(width - 1, 1)
    blue = (7 * x + 13 * y) % 256
    return np.asarray(np.rint(np.stack([red, green, blue], -1)), np.uint8)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format, **options)
    return packed.getvalue()


def square_by_torchvision(image: Image.Image) -> np.ndarray:
    """Resize and crop an upright RGB image by torchvision."""
    return np.asarray(TORCHVISION(image))


def decode_pixels(data: bytes) -> np.ndarray:
    return decode(data, CONTRACT)[0]


def as_rgb(values: np.ndarray) -> np.ndarray:
    """uint8 [256,256] grey or [256,256,3] colour as the decoder should give them back: already the right size."""
    return np.asarray(np.repeat(values[:, :, None], 3, 2) if values.ndim == 2 else values)


def grey_grid() -> np.ndarray:
    """uint8 [256,256]: every grey, in every column once."""
    return np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)


def palette_colours() -> np.ndarray:
    """uint8 [256,3], no two alike."""
    i = np.arange(256)
    return np.stack([i, 255 - i, (i * 7) % 256], -1).astype(np.uint8)


def palette_image() -> Image.Image:
    image = Image.fromarray(grey_grid(), "L").copy()
    image = image.convert("P")
    image.putdata(grey_grid().ravel().tolist())
    image.putpalette(palette_colours().ravel().tolist())
    return image


def grey_of_16_bits() -> np.ndarray:
    """uint16 [256,256]: all of them, both ends included."""
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG made by hand, for what Pillow does not write; `rows` with a filter byte before each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def make_png_of(values: np.ndarray, depth: int, colour: int, extra: bytes = b"") -> bytes:
    big = values.astype(">u2" if depth == 16 else "u1")
    return make_png(
        values.shape[1], values.shape[0], depth, colour, b"".join(b"\0" + row.tobytes() for row in big), extra
    )


def noise_jpeg(progressive: bool = True) -> bytes:
    packed = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(packed, "JPEG", progressive=progressive)
    return packed.getvalue()
