"""images/to_rgb.py: converts every mode by its rule, here on 256x256 images, which are not resized."""

import io
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np
import oracles
import pytest
from PIL import Image
from support.pictures import (
    CONTRACT,
    ORIENTATION,
    as_rgb,
    decode_pixels,
    encode,
    grey_grid,
    grey_of_16_bits,
    make_png,
    make_png_of,
    palette_colours,
    palette_image,
    picture,
    png_chunk,
    square_by_torchvision,
)

from tencrop.images.decode import decode
from tencrop.images.to_rgb import convert_to_rgb


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
    values = np.where(grey_grid() > 100, 255, 0).astype(np.uint8)
    data = encode(Image.fromarray(values).convert("1"), "PNG")
    assert mode_of(data) == "1"
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(values))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_grey_is_the_same_in_all_three_channels(format: str) -> None:
    data = encode(Image.fromarray(grey_grid()), format)
    assert mode_of(data) == "L"
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(grey_grid()))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_palette_is_looked_up(format: str) -> None:
    data = encode(palette_image(), format)
    assert mode_of(data) in ("P", "RGB")
    np.testing.assert_array_equal(decode_pixels(data), palette_colours()[grey_grid()])


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    data = encode(palette_image(), "PNG", transparency=33)
    assert mode_of(data) == "P"
    expected = palette_colours()
    expected[33] = 255
    np.testing.assert_array_equal(decode_pixels(data), expected[grey_grid()])


def test_a_palette_with_an_alpha_for_each_colour_is_laid_on_white() -> None:
    alphas = (np.arange(256) * 5 % 256).astype(np.uint8)
    data = encode(palette_image(), "PNG", transparency=alphas.tobytes())
    expected = over_white(palette_colours()[grey_grid()], alphas[grey_grid()])
    assert np.abs(decode_pixels(data) - expected).max() <= 1


def test_a_transparent_gif_is_laid_on_white() -> None:
    data = encode(palette_image(), "GIF", transparency=33)
    result, expected = decode_pixels(data), palette_colours()
    expected[33] = 255
    np.testing.assert_array_equal(result, expected[grey_grid()])


def test_grey_with_alpha_is_laid_on_white() -> None:
    alpha = grey_grid().T[::-1].copy()
    data = encode(Image.merge("LA", (Image.fromarray(grey_grid()), Image.fromarray(alpha))), "PNG")
    assert mode_of(data) == "LA"
    assert np.abs(decode_pixels(data) - over_white(as_rgb(grey_grid()), alpha)).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_colour_with_alpha_is_laid_on_white(format: str) -> None:
    colour, alpha = picture(256, 256), grey_grid()
    image = Image.fromarray(np.dstack([colour, alpha]))
    data = encode(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    assert mode_of(data) == "RGBA"
    assert np.abs(decode_pixels(data) - over_white(colour, alpha)).max() <= 1


def test_fully_transparent_is_white_whatever_lies_under_it() -> None:
    data = encode(Image.fromarray(np.dstack([picture(256, 256), np.zeros((256, 256), np.uint8)])), "PNG")
    assert (decode_pixels(data) == 255).all()


def test_premultiplied_alpha_is_laid_on_white_too() -> None:
    colour, alpha = picture(256, 256), np.maximum(grey_grid(), 40)
    multiplied = np.rint(colour * (alpha[:, :, None] / 255)).astype(np.uint8)
    data = tiff(np.dstack([multiplied, alpha]), photometric=2, extra_samples=1)
    assert np.abs(decode_pixels(data) - over_white(colour, alpha)).max() <= 4  # 8 bits, multiplied and divided


def test_a_screenshot_whose_alpha_is_all_zero_is_opaque() -> None:
    """Windows' clipboard holds a BMP of 32 bits with masks."""
    colour = picture(256, 256)
    alpha = np.zeros((256, 256, 1), np.uint8)
    rows = np.concatenate([colour[::-1, :, ::-1], alpha], -1).tobytes()
    header = struct.pack(
        "<IiiHHIIiiII5I", 124, 256, 256, 1, 32, 3, len(rows), 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000, 0
    )
    data = b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows), 0, 0, 14 + 124) + header.ljust(124, b"\0") + rows
    assert mode_of(data) == "RGBA"
    np.testing.assert_array_equal(decode_pixels(data), colour)


def test_a_fourth_sample_that_is_not_alpha_is_ignored() -> None:
    data = tiff(np.dstack([picture(256, 256), grey_grid()]), photometric=2, extra_samples=0)
    assert mode_of(data) == "RGB"
    np.testing.assert_array_equal(decode_pixels(data), picture(256, 256))


def test_a_cmyk_jpeg_is_pillows_own_conversion() -> None:
    image = Image.fromarray(picture(300, 256)).convert("CMYK")
    data = encode(image, "JPEG", quality=95)
    assert mode_of(data) == "CMYK"
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(decode_pixels(data), square_by_torchvision(again.convert("RGB")))


def test_cmyk_ink_darkens() -> None:
    cmyk = np.dstack([picture(256, 256), grey_grid()])
    data = encode(Image.fromarray(cmyk, "CMYK"), "TIFF")
    assert mode_of(data) == "CMYK"
    paper = 255.0 - cmyk
    assert np.abs(decode_pixels(data) - paper[:, :, :3] * paper[:, :, 3:] / 255).max() <= 1


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_ycbcr_jpeg_is_what_pillow_reads(subsampling: int) -> None:
    image = Image.fromarray(picture(256, 300)).convert("YCbCr")
    data = encode(image, "JPEG", subsampling=subsampling, quality=95)
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(decode_pixels(data), square_by_torchvision(again.convert("RGB")))


def test_a_flat_ycbcr_jpeg_gives_the_formulas_colour() -> None:
    y, cb, cr = 120, 100, 180
    result = decode_pixels(encode(Image.new("YCbCr", (64, 64), (y, cb, cr)), "JPEG", quality=100))
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
    difference = np.abs(decode_pixels(data) - oracles.lab_to_srgb(exact))
    assert inside.all(-1).mean() > 0.5
    assert difference[inside.all(-1)].max() <= 4
    assert difference[inside.all(-1)].mean() <= 1


SIXTEEN: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: make_png_of(grey_of_16_bits(), 16, 0),
    "TIFF, little-endian": lambda: tiff(grey_of_16_bits(), photometric=1),
    "TIFF, big-endian": lambda: tiff(grey_of_16_bits(), photometric=1, order=">"),
}


@pytest.mark.parametrize("made", SIXTEEN)
def test_sixteen_bit_grey_is_divided_by_257(made: str) -> None:
    data = SIXTEEN[made]()
    assert mode_of(data).startswith("I;16")
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(np.rint(grey_of_16_bits() / 257).astype(np.uint8)))


@pytest.mark.parametrize("made", SIXTEEN)
def test_sixteen_bit_grey_turns_with_its_exif(made: str) -> None:
    """Pillow's own writer puts the orientation tag beside 16-bit samples."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(Image.fromarray(grey_of_16_bits()), made[:4].rstrip(","), exif=exif)
    np.testing.assert_array_equal(
        decode_pixels(data), as_rgb(np.rint(np.rot90(grey_of_16_bits(), -1) / 257).astype(np.uint8))
    )


@pytest.mark.parametrize("kind", [1, 2])
def test_thirty_two_bit_grey_is_read_as_sixteen_and_clipped(kind: int) -> None:
    values = grey_of_16_bits().astype(np.int64) * 2 - (30_000 if kind == 2 else 0)
    data = tiff(values.astype(np.uint32 if kind == 1 else np.int32), photometric=1, kind=kind)
    assert mode_of(data) == "I"
    np.testing.assert_array_equal(
        decode_pixels(data), as_rgb(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8))
    )


def test_float_grey_is_clipped_to_0_to_255() -> None:
    values = np.linspace(-100, 400, 65536, dtype=np.float32).reshape(256, 256)
    values[0, :4] = np.nan, np.inf, -np.inf, 1e30
    data = tiff(values, photometric=1, kind=3)
    assert mode_of(data) == "F"
    result = decode_pixels(data)
    assert result[0, :4, 0].tolist() == [0, 255, 0, 255]
    values[0, :4] = 0
    np.testing.assert_array_equal(result[1:], as_rgb(np.rint(np.clip(values, 0, 255)).astype(np.uint8))[1:])


def test_the_transparent_grey_of_a_png_is_white() -> None:
    data = make_png_of(grey_grid(), 8, 0, png_chunk(b"tRNS", struct.pack(">H", 77)))
    assert mode_of(data) == "L"
    expected = np.where(grey_grid() == 77, 255, grey_grid()).astype(np.uint8)
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(expected))


def test_the_transparent_bit_of_a_png_is_white() -> None:
    rows = b"".join(b"\0" + b"\x0f" * 32 for _ in range(256))
    data = make_png(256, 256, 1, 0, rows, png_chunk(b"tRNS", struct.pack(">H", 0)))
    assert mode_of(data) == "1"
    assert (decode_pixels(data) == 255).all()


def test_the_transparent_grey_of_a_sixteen_bit_png_is_white() -> None:
    data = make_png_of(grey_of_16_bits(), 16, 0, png_chunk(b"tRNS", struct.pack(">H", 3000)))
    expected = np.rint(grey_of_16_bits() / 257)
    expected[grey_of_16_bits() == 3000] = 255
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(expected.astype(np.uint8)))


@pytest.mark.parametrize(("depth", "levels"), [(2, 4), (4, 16)])
def test_the_transparent_grey_of_a_png_of_few_levels_is_white(depth: int, levels: int) -> None:
    values = grey_grid() % levels
    bits = np.unpackbits(values[..., None], axis=-1)[..., -depth:]
    rows = np.packbits(bits.reshape(256, -1), axis=1)
    data = make_png(
        256,
        256,
        depth,
        0,
        b"".join(b"\0" + row.tobytes() for row in rows),
        png_chunk(b"tRNS", struct.pack(">H", levels - 2)),
    )
    assert mode_of(data) == "L"
    expected = np.where(values == levels - 2, 255, values * (255 // (levels - 1))).astype(np.uint8)
    np.testing.assert_array_equal(decode_pixels(data), as_rgb(expected))


def test_the_transparent_colour_of_a_sixteen_bit_png_is_white() -> None:
    rows = (
        b"\0" + b"\x12\x34" * 3 * 128 + b"\x34\x12" * 3 * 128
    ) * 256  # the key's bytes, and the same two the other way round
    data = make_png(256, 256, 16, 2, rows, png_chunk(b"tRNS", b"\x12\x34" * 3))
    assert mode_of(data) == "RGB"
    assert (decode_pixels(data)[:, :128] == 255).all() and (decode_pixels(data)[:, 128:] == 0x34).all()


def test_the_transparent_colour_of_a_png_is_white() -> None:
    colour = picture(256, 256)
    key = colour[100, 50]
    data = make_png(
        256,
        256,
        8,
        2,
        b"".join(b"\0" + row.tobytes() for row in colour),
        png_chunk(b"tRNS", struct.pack(">HHH", *key.tolist())),
    )
    assert mode_of(data) == "RGB"
    expected = colour.copy()
    expected[(colour == key).all(-1)] = 255
    assert (expected != colour).any()
    np.testing.assert_array_equal(decode_pixels(data), expected)


def of_mode(mode: str, colour: np.ndarray, alpha: np.ndarray) -> Image.Image:
    if mode == "PA":
        image = palette_image().convert("PA")
        image.putalpha(Image.fromarray(alpha))
        return image
    if mode == "La":
        return Image.merge("LA", (Image.fromarray(grey_grid()), Image.fromarray(alpha))).convert("La")
    return Image.fromarray(np.dstack([colour, alpha])).convert(mode)


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa", "RGBX", "HSV", "YCbCr"])
def test_modes_that_no_listed_file_has_follow_the_rules_too(mode: str) -> None:
    colour, alpha = picture(256, 256), np.maximum(grey_grid(), 40)
    colour = {"PA": palette_colours()[grey_grid()], "La": as_rgb(grey_grid())}.get(mode, colour)
    image = of_mode(mode, colour, alpha)
    assert image.mode == mode
    expected = over_white(colour, alpha) if mode in ("PA", "La", "RGBa") else colour.astype(float)
    difference = np.abs(np.asarray(convert_to_rgb(image)) - expected)
    assert difference.max() <= (10 if mode == "HSV" else 4)  # steps of 1/255 of hue; multiplied and divided in 8 bits
