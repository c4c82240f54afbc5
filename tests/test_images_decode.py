"""images/decode.py: bit-equal to torchvision, upright, every mode by its rule, and nothing but ImageError for bad bytes."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import oracles
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tencrop.images.decode import FORMATS, MAX_ASPECT, MAX_PIXELS, _rgb, decode
from tencrop.images.errors import ImageError, ImageTooLarge, UnsupportedImage
from tencrop.model.contract import Contract

CONTRACT = Contract()
TORCHVISION = Compose([Resize(256, InterpolationMode.BILINEAR, antialias=True), CenterCrop(256)])
SIZES = [
    (256, 256),
    (257, 256),
    (300, 257),
    (333, 500),
    (501, 333),
    (640, 427),
    (97, 31),
    (31, 97),
    (255, 3),
    (7, 5),
    (2, 1),
    (1, 1),
]
ORIENTATION = 0x0112


def picture(width: int, height: int) -> np.ndarray:
    """Formula-made, uint8 [height,width,3]: smooth and rough in each channel, no two corners alike."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 120 * np.sin(x * x / 37 + y / 5)
    green = (x * 255) / max(width - 1, 1)
    blue = (7 * x + 13 * y) % 256
    return np.asarray(np.rint(np.stack([red, green, blue], -1)), np.uint8)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, format, **options)
    return packed.getvalue()


def square(image: Image.Image) -> np.ndarray:
    """What torchvision makes of an upright RGB image."""
    return np.asarray(TORCHVISION(image))


def pixels(data: bytes) -> np.ndarray:
    return decode(data, CONTRACT)[0]


def plain(values: np.ndarray) -> np.ndarray:
    """uint8 [256,256] grey or [256,256,3] colour as the decoder should give them back: already the right size."""
    return np.asarray(np.repeat(values[:, :, None], 3, 2) if values.ndim == 2 else values)


# ---- against torchvision


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_are_bit_equal_to_torchvision(photographs: dict[str, Path], name: str) -> None:
    data = photographs[name].read_bytes()
    result, info = decode(data, CONTRACT)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(result, square(image.convert("RGB")))
        assert info == ("JPEG", "RGB", image.width, image.height, False)
    assert result.shape == (256, 256, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_odd_sizes_are_bit_equal_to_torchvision(width: int, height: int) -> None:
    image = Image.fromarray(picture(width, height))
    np.testing.assert_array_equal(pixels(encoded(image, "PNG")), square(image))


@pytest.mark.parametrize("resize", [224, 255, 64])
def test_the_contract_sets_the_size(resize: int) -> None:
    image = Image.fromarray(picture(300, 211))
    expected = Compose([Resize(resize, antialias=True), CenterCrop(resize)])(image)
    result, _ = decode(encoded(image, "PNG"), Contract(resize=resize, crop=60))
    np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG"])
def test_each_format_is_read(format: str) -> None:
    image = Image.fromarray(picture(90, 60))
    data = encoded(image, format, **({"lossless": True} if format == "WEBP" else {}))
    result, info = decode(data, CONTRACT)
    assert (info.format, info.width, info.height) == (format, 90, 60)
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(result, square(again.convert("RGB")))
    if format not in ("GIF", "JPEG"):
        np.testing.assert_array_equal(result, square(image))


def test_a_single_pixel_is_answered() -> None:
    result = pixels(encoded(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG"))
    assert (result == (10, 20, 30)).all()
    assert result.shape == (256, 256, 3)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    values = picture(256, 256)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(values), "PNG")), values)


# ---- EXIF


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_are_turned_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(picture(90, 61)), format, exif=exif)
    result, info = decode(data, CONTRACT)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        assert (info.width, info.height) == upright.size == ((61, 90) if orientation > 4 else (90, 61))
        np.testing.assert_array_equal(result, square(upright.convert("RGB")))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_info_says_whether_exif_turned_the_image(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, info = decode(encoded(Image.fromarray(picture(9, 6)), format, exif=exif), CONTRACT)
    assert info.exif_rotated == (orientation != 1)


@pytest.mark.parametrize("orientation", [2, 6])
def test_info_says_whether_a_tiff_was_turned(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, info = decode(encoded(Image.fromarray(picture(9, 6)), "TIFF", exif=exif), CONTRACT)
    assert info.exif_rotated


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_of_the_eight_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(picture(90, 61))
    result, info = decode(encoded(image, "PNG", exif=exif), CONTRACT)
    np.testing.assert_array_equal(result, square(image))
    assert not info.exif_rotated


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0rubbish",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    ],
)
def test_damaged_exif_counts_as_none(exif: bytes) -> None:
    data = encoded(Image.fromarray(picture(90, 61)), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow tells about it
        result, info = decode(data, CONTRACT)
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(result, square(image))
    assert not info.exif_rotated


# ---- modes; every image is 256x256 so that no resampling stands between the rule and the result


def grid() -> np.ndarray:
    """uint8 [256,256]: every grey, in every column once."""
    return np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG made by hand, for what Pillow does not write; `rows` with a filter byte before each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def png_of(values: np.ndarray, depth: int, colour: int, extra: bytes = b"") -> bytes:
    big = values.astype(">u2" if depth == 16 else "u1")
    return png(values.shape[1], values.shape[0], depth, colour, b"".join(b"\0" + row.tobytes() for row in big), extra)


def tiff(
    values: np.ndarray,
    photometric: int,
    extra_samples: int | None = None,
    kind: int = 1,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """An uncompressed TIFF made by hand, [H,W] or [H,W,C]; kind 1 unsigned, 2 signed, 3 float; order of its bytes."""
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width, samples = (*values.shape, 1)[:3]
    entries: list[tuple[int, int, list[int]]] = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8 * values.dtype.itemsize] * samples),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [8]),
        (277, 3, [samples]),
        (278, 4, [height]),
        (279, 4, [len(body)]),
        (284, 3, [1]),
        *([(338, 3, [extra_samples])] if extra_samples is not None else []),
        (339, 3, [kind] * samples),
    ]
    start = 8 + len(body)
    far, directory = start + 2 + 12 * len(entries) + 4, b""
    overflow = b""
    for tag, type, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if type == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            packed, overflow = struct.pack(f"{order}I", far + len(overflow)), overflow + packed
        directory += struct.pack(f"{order}HHI", tag, type, len(numbers)) + packed.ljust(4, b"\0")
    header = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)
    return header + body + struct.pack(f"{order}H", len(entries)) + directory + b"\0\0\0\0" + overflow


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """colour uint8 [H,W,3] with alpha [H,W] on white, exactly."""
    share = alpha[:, :, None] / 255
    return np.asarray(colour * share + 255 * (1 - share))


def mode_of(data: bytes) -> str:
    return decode(data, CONTRACT)[1].mode


def test_black_and_white_becomes_0_and_255() -> None:
    values = np.where(grid() > 100, 255, 0).astype(np.uint8)
    data = encoded(Image.fromarray(values).convert("1"), "PNG")
    assert mode_of(data) == "1"
    np.testing.assert_array_equal(pixels(data), plain(values))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_grey_is_the_same_in_all_three_channels(format: str) -> None:
    data = encoded(Image.fromarray(grid()), format)
    assert mode_of(data) == "L"
    np.testing.assert_array_equal(pixels(data), plain(grid()))


def palette() -> np.ndarray:
    """uint8 [256,3], no two alike."""
    i = np.arange(256)
    return np.stack([i, 255 - i, (i * 7) % 256], -1).astype(np.uint8)


def paletted() -> Image.Image:
    image = Image.fromarray(grid(), "L").copy()
    image = image.convert("P")
    image.putdata(grid().ravel().tolist())
    image.putpalette(palette().ravel().tolist())
    return image


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_palette_is_looked_up(format: str) -> None:
    data = encoded(paletted(), format)
    assert mode_of(data) in ("P", "RGB")
    np.testing.assert_array_equal(pixels(data), palette()[grid()])


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    data = encoded(paletted(), "PNG", transparency=33)
    assert mode_of(data) == "P"
    expected = palette()
    expected[33] = 255
    np.testing.assert_array_equal(pixels(data), expected[grid()])


def test_a_palette_with_an_alpha_for_each_colour_is_laid_on_white() -> None:
    alphas = (np.arange(256) * 5 % 256).astype(np.uint8)
    data = encoded(paletted(), "PNG", transparency=alphas.tobytes())
    expected = over_white(palette()[grid()], alphas[grid()])
    assert np.abs(pixels(data) - expected).max() <= 1


def test_a_transparent_gif_is_laid_on_white() -> None:
    data = encoded(paletted(), "GIF", transparency=33)
    result, expected = pixels(data), palette()
    expected[33] = 255
    np.testing.assert_array_equal(result, expected[grid()])


def test_an_orientation_of_xmp_alone_turns_nothing() -> None:
    """Browsers do not look there, and programs that turn an image and take out its EXIF may leave it."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r" tiff:Orientation="6"/></x:xmpmeta>'
    image = Image.fromarray(picture(300, 280))
    for data in (encoded(image, "JPEG", xmp=xmp), encoded(image, "WEBP", xmp=xmp, lossless=True)):
        info = decode(data, CONTRACT)[1]
        assert (info.width, info.height, info.exif_rotated) == (300, 280, False)


def test_grey_with_alpha_is_laid_on_white() -> None:
    alpha = grid().T[::-1].copy()
    data = encoded(Image.merge("LA", (Image.fromarray(grid()), Image.fromarray(alpha))), "PNG")
    assert mode_of(data) == "LA"
    assert np.abs(pixels(data) - over_white(plain(grid()), alpha)).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_colour_with_alpha_is_laid_on_white(format: str) -> None:
    colour, alpha = picture(256, 256), grid()
    image = Image.fromarray(np.dstack([colour, alpha]))
    data = encoded(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    assert mode_of(data) == "RGBA"
    assert np.abs(pixels(data) - over_white(colour, alpha)).max() <= 1


def test_fully_transparent_is_white_whatever_lies_under_it() -> None:
    data = encoded(Image.fromarray(np.dstack([picture(256, 256), np.zeros((256, 256), np.uint8)])), "PNG")
    assert (pixels(data) == 255).all()


def test_premultiplied_alpha_is_laid_on_white_too() -> None:
    colour, alpha = picture(256, 256), np.maximum(grid(), 40)
    multiplied = np.rint(colour * (alpha[:, :, None] / 255)).astype(np.uint8)
    data = tiff(np.dstack([multiplied, alpha]), photometric=2, extra_samples=1)
    assert np.abs(pixels(data) - over_white(colour, alpha)).max() <= 4  # 8 bits, multiplied and divided


def test_a_screenshot_whose_alpha_is_all_zero_is_opaque() -> None:
    """As Windows' clipboard has them: BMP of 32 bits with masks."""
    colour = picture(256, 256)
    alpha = np.zeros((256, 256, 1), np.uint8)
    rows = np.concatenate([colour[::-1, :, ::-1], alpha], -1).tobytes()
    header = struct.pack(
        "<IiiHHIIiiII5I", 124, 256, 256, 1, 32, 3, len(rows), 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000, 0
    )
    data = b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows), 0, 0, 14 + 124) + header.ljust(124, b"\0") + rows
    assert mode_of(data) == "RGBA"
    np.testing.assert_array_equal(pixels(data), colour)


def test_a_fourth_sample_that_is_not_alpha_is_ignored() -> None:
    data = tiff(np.dstack([picture(256, 256), grid()]), photometric=2, extra_samples=0)
    assert mode_of(data) == "RGB"
    np.testing.assert_array_equal(pixels(data), picture(256, 256))


def test_a_cmyk_jpeg_is_pillows_own_conversion() -> None:
    image = Image.fromarray(picture(300, 256)).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    assert mode_of(data) == "CMYK"
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(pixels(data), square(again.convert("RGB")))


def test_cmyk_ink_darkens() -> None:
    cmyk = np.dstack([picture(256, 256), grid()])
    data = encoded(Image.fromarray(cmyk, "CMYK"), "TIFF")
    assert mode_of(data) == "CMYK"
    paper = 255.0 - cmyk
    assert np.abs(pixels(data) - paper[:, :, :3] * paper[:, :, 3:] / 255).max() <= 1


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_ycbcr_jpeg_is_what_pillow_reads(subsampling: int) -> None:
    image = Image.fromarray(picture(256, 300)).convert("YCbCr")
    data = encoded(image, "JPEG", subsampling=subsampling, quality=95)
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(pixels(data), square(again.convert("RGB")))


def test_a_flat_ycbcr_jpeg_gives_the_formulas_colour() -> None:
    y, cb, cr = 120, 100, 180
    result = pixels(encoded(Image.new("YCbCr", (64, 64), (y, cb, cr)), "JPEG", quality=100))
    expected = (y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128))
    assert np.abs(result - np.array(expected)).max() <= 1.5


def test_cielab_goes_through_its_colour_profile() -> None:
    lightness, a, b = (
        np.repeat(np.repeat(v, 64, 0), 64, 1) for v in np.random.default_rng(0).integers(-30, 31, (3, 4, 4))
    )
    lab = np.stack([lightness + 55, a, b], -1).astype(np.float64)  # inside sRGB's gamut or near it
    stored = np.stack([np.rint(lab[..., 0] * 2.55), lab[..., 1], lab[..., 2]], -1).astype(np.int64).astype(np.uint8)
    data = tiff(stored, photometric=8)
    assert mode_of(data) == "LAB"
    exact = lab.copy()
    exact[..., 0] = np.rint(lab[..., 0] * 2.55) / 2.55
    inside = (oracles.lab_to_srgb(exact) > 4) & (oracles.lab_to_srgb(exact) < 251)
    difference = np.abs(pixels(data) - oracles.lab_to_srgb(exact))
    assert inside.all(-1).mean() > 0.5
    assert difference[inside.all(-1)].max() <= 4
    assert difference[inside.all(-1)].mean() <= 1


def deep() -> np.ndarray:
    """uint16 [256,256]: all of them, both ends included."""
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


SIXTEEN: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: png_of(deep(), 16, 0),
    "TIFF, little-endian": lambda: tiff(deep(), photometric=1),
    "TIFF, big-endian": lambda: tiff(deep(), photometric=1, order=">"),
}


@pytest.mark.parametrize("made", SIXTEEN)
def test_sixteen_bit_grey_is_divided_by_257(made: str) -> None:
    data = SIXTEEN[made]()
    assert mode_of(data).startswith("I;16")
    np.testing.assert_array_equal(pixels(data), plain(np.rint(deep() / 257).astype(np.uint8)))


@pytest.mark.parametrize("made", SIXTEEN)
def test_sixteen_bit_grey_turns_with_its_exif(made: str) -> None:
    """Through Pillow's own writer: the orientation tag beside 16-bit samples."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(Image.fromarray(deep()), made[:4].rstrip(","), exif=exif)
    np.testing.assert_array_equal(pixels(data), plain(np.rint(np.rot90(deep(), -1) / 257).astype(np.uint8)))


@pytest.mark.parametrize("kind", [1, 2])
def test_thirty_two_bit_grey_is_read_as_sixteen_and_clipped(kind: int) -> None:
    values = deep().astype(np.int64) * 2 - (30_000 if kind == 2 else 0)
    data = tiff(values.astype(np.uint32 if kind == 1 else np.int32), photometric=1, kind=kind)
    assert mode_of(data) == "I"
    np.testing.assert_array_equal(pixels(data), plain(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8)))


def test_float_grey_is_clipped_to_0_to_255() -> None:
    values = np.linspace(-100, 400, 65536, dtype=np.float32).reshape(256, 256)
    values[0, :4] = np.nan, np.inf, -np.inf, 1e30
    data = tiff(values, photometric=1, kind=3)
    assert mode_of(data) == "F"
    result = pixels(data)
    assert result[0, :4, 0].tolist() == [0, 255, 0, 255]
    values[0, :4] = 0
    np.testing.assert_array_equal(result[1:], plain(np.rint(np.clip(values, 0, 255)).astype(np.uint8))[1:])


def test_the_transparent_grey_of_a_png_is_white() -> None:
    data = png_of(grid(), 8, 0, chunk(b"tRNS", struct.pack(">H", 77)))
    assert mode_of(data) == "L"
    expected = np.where(grid() == 77, 255, grid()).astype(np.uint8)
    np.testing.assert_array_equal(pixels(data), plain(expected))


def test_the_transparent_bit_of_a_png_is_white() -> None:
    rows = b"".join(b"\0" + b"\x0f" * 32 for _ in range(256))
    data = png(256, 256, 1, 0, rows, chunk(b"tRNS", struct.pack(">H", 0)))
    assert mode_of(data) == "1"
    assert (pixels(data) == 255).all()


def test_the_transparent_grey_of_a_sixteen_bit_png_is_white() -> None:
    data = png_of(deep(), 16, 0, chunk(b"tRNS", struct.pack(">H", 3000)))
    expected = np.rint(deep() / 257)
    expected[deep() == 3000] = 255
    np.testing.assert_array_equal(pixels(data), plain(expected.astype(np.uint8)))


@pytest.mark.parametrize(("depth", "levels"), [(2, 4), (4, 16)])
def test_the_transparent_grey_of_a_png_of_few_levels_is_white(depth: int, levels: int) -> None:
    values = grid() % levels
    bits = np.unpackbits(values[..., None], axis=-1)[..., -depth:]
    rows = np.packbits(bits.reshape(256, -1), axis=1)
    data = png(
        256,
        256,
        depth,
        0,
        b"".join(b"\0" + row.tobytes() for row in rows),
        chunk(b"tRNS", struct.pack(">H", levels - 2)),
    )
    assert mode_of(data) == "L"
    expected = np.where(values == levels - 2, 255, values * (255 // (levels - 1))).astype(np.uint8)
    np.testing.assert_array_equal(pixels(data), plain(expected))


def test_the_transparent_colour_of_a_sixteen_bit_png_is_white() -> None:
    rows = (
        b"\0" + b"\x12\x34" * 3 * 128 + b"\x34\x12" * 3 * 128
    ) * 256  # the key's bytes, and the same two the other way round
    data = png(256, 256, 16, 2, rows, chunk(b"tRNS", b"\x12\x34" * 3))
    assert mode_of(data) == "RGB"
    assert (pixels(data)[:, :128] == 255).all() and (pixels(data)[:, 128:] == 0x34).all()


def test_the_transparent_colour_of_a_png_is_white() -> None:
    colour = picture(256, 256)
    key = colour[100, 50]
    data = png(
        256,
        256,
        8,
        2,
        b"".join(b"\0" + row.tobytes() for row in colour),
        chunk(b"tRNS", struct.pack(">HHH", *key.tolist())),
    )
    assert mode_of(data) == "RGB"
    expected = colour.copy()
    expected[(colour == key).all(-1)] = 255
    assert (expected != colour).any()
    np.testing.assert_array_equal(pixels(data), expected)


def test_transparency_survives_an_exif_turn() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    data = encoded(paletted(), "PNG", transparency=33, exif=exif)
    expected = palette()
    expected[33] = 255
    np.testing.assert_array_equal(pixels(data), expected[grid()][::-1, ::-1])


def of_mode(mode: str, colour: np.ndarray, alpha: np.ndarray) -> Image.Image:
    if mode == "PA":
        image = paletted().convert("PA")
        image.putalpha(Image.fromarray(alpha))
        return image
    if mode == "La":
        return Image.merge("LA", (Image.fromarray(grid()), Image.fromarray(alpha))).convert("La")
    return Image.fromarray(np.dstack([colour, alpha])).convert(mode)


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa", "RGBX", "HSV", "YCbCr"])
def test_modes_that_no_listed_file_has_follow_the_rules_too(mode: str) -> None:
    colour, alpha = picture(256, 256), np.maximum(grid(), 40)
    colour = {"PA": palette()[grid()], "La": plain(grid())}.get(mode, colour)
    image = of_mode(mode, colour, alpha)
    assert image.mode == mode
    expected = over_white(colour, alpha) if mode in ("PA", "La", "RGBa") else colour.astype(float)
    difference = np.abs(np.asarray(_rgb(image)) - expected)
    assert difference.max() <= (10 if mode == "HSV" else 4)  # steps of 1/255 of hue; multiplied and divided in 8 bits


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_taken(format: str) -> None:
    first, second = Image.fromarray(picture(80, 60)), Image.new("RGB", (80, 60), (255, 0, 0))
    options = {"lossless": True} if format == "WEBP" else {}
    still = encoded(first, format, **options)
    moving = encoded(first, format, save_all=True, append_images=[second, second], **options)
    assert len(moving) > len(still)
    assert np.abs(pixels(moving).astype(int) - square(first)).mean() < (
        12 if format == "GIF" else 0.01
    )  # a GIF has 256 colours


# ---- what cannot be answered


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_truncated_image_is_damaged(format: str, share: float) -> None:
    data = encoded(Image.fromarray(picture(120, 90)), format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)], CONTRACT)
    assert caught.value.code == "damaged_image"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("length", [12, 16, 20, 40])
def test_a_listed_format_cut_inside_its_header_is_damaged_not_unsupported(format: str, length: int) -> None:
    """The signature is there: 400 and not 415."""
    data = encoded(Image.fromarray(picture(120, 90)), format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ImageError) as caught:
            decode(data[:length], CONTRACT)
    assert caught.value.code == "damaged_image"


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"no image", b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(1000), b"\xff" * 99],
)
def test_what_is_no_image_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        decode(data, CONTRACT)
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize("format", ["PPM", "TGA", "ICO", "JPEG2000", "PCX", "AVIF"])
def test_a_format_that_pillow_knows_but_the_list_does_not_is_unsupported(format: str) -> None:
    with pytest.raises(UnsupportedImage):
        decode(encoded(Image.fromarray(picture(64, 64)), format), CONTRACT)


def header_only(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, b"")


@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 5001), (10_000, 9000), (20_000, 20_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1)]
)
def test_too_many_pixels_are_refused_by_the_header_alone(width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    with pytest.raises(ImageTooLarge) as caught:
        decode(header_only(width, height), CONTRACT)
    assert caught.value.code == "image_too_large"


def test_as_many_pixels_as_allowed_are_not_too_large() -> None:
    with pytest.raises(ImageError) as caught:
        decode(header_only(10_000, MAX_PIXELS // 10_000), CONTRACT)  # damaged, since nothing follows
    assert caught.value.code == "damaged_image"


@pytest.mark.parametrize(("width", "height"), [(101, 1), (1, 101), (1001, 10)])
def test_an_extreme_aspect_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=f"{MAX_ASPECT}:1"):
        decode(encoded(Image.new("RGB", (width, height)), "PNG"), CONTRACT)


@pytest.mark.parametrize(("width", "height"), [(100, 1), (1, 100)])
def test_the_longest_aspect_is_answered(width: int, height: int) -> None:
    image = Image.fromarray(picture(width, height))
    np.testing.assert_array_equal(pixels(encoded(image, "PNG")), square(image))


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_bytes_raise_nothing_but_image_error(format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {} if format in ("GIF", "BMP") else {"exif": exif}
    data = encoded(Image.fromarray(picture(40, 30)), format, **options)
    random = np.random.default_rng(FORMATS.index(format))
    outcomes = {"answered": 0, "refused": 0}
    messages: set[str] = set()
    for _ in range(200):
        mutated = bytearray(data)
        early = random.random() < 0.5  # half of the mutations hit the headers
        for position in random.integers(0, min(len(data), 80) if early else len(data), random.integers(1, 9)):
            mutated[position] = random.integers(0, 256)
        cut = len(data) if random.random() < 0.8 else int(random.integers(0, len(data)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                result, info = decode(bytes(mutated[:cut]), CONTRACT)
            except ImageError as error:
                messages.add(str(error))
                outcomes["refused"] += 1
                continue
        assert result.shape == (256, 256, 3)
        assert result.dtype == np.uint8
        assert info.format in FORMATS
        assert info.width > 0
        assert info.height > 0
        outcomes["answered"] += 1
    assert max(len(message) for message in messages) < 500
    assert outcomes["refused"] > 50
    assert outcomes["answered"] > (0 if format == "PNG" else 10)
