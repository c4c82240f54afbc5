"""images/tiff_layout.py: each layout of TIFF is read as it is meant, or refused as unsupported.

The files are written byte by byte from known samples. tifffile, an independent reader, finds the same samples in them.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from support.pictures import encode
from support.tiff_layouts import (
    ADOBE_DEFLATE,
    CIELAB,
    CMYK,
    DEFLATE,
    FLOAT,
    GREY,
    GREY_INVERTED,
    JPEG,
    LZW,
    MASK,
    NONE,
    PACKBITS,
    PALETTE,
    RGB,
    SIDE,
    SIGNED,
    UNSIGNED,
    YCBCR,
    Layout,
    assemble,
    expect_rgb,
    make_samples,
    write,
)

from tencrop.images.decode import decode
from tencrop.images.errors import ImageError, UnsupportedImage
from tencrop.model.contract import Contract

CONTRACT = Contract(resize=SIDE, crop=SIDE)  # pixels come out as they went in
LOSS = 8  # of 255, of a JPEG of quality 100
EXTRAS: list[tuple[int, ...]] = [(), (0,), (1,), (2,)]
DEPTHS = [(1, UNSIGNED), (2, UNSIGNED), (4, UNSIGNED), (8, UNSIGNED), (8, SIGNED), (12, UNSIGNED), (16, UNSIGNED)]
DEPTHS += [(16, SIGNED), (16, FLOAT), (32, UNSIGNED), (32, SIGNED), (32, FLOAT), (64, UNSIGNED), (64, FLOAT)]

KINDS = [Layout(grey, bits, format) for grey in (GREY_INVERTED, GREY) for bits, format in DEPTHS]
KINDS += [Layout(grey, bits, 1, extra) for grey in (GREY_INVERTED, GREY) for bits in (8, 16) for extra in EXTRAS[1:]]
KINDS += [Layout(RGB, bits, 1, extra) for bits in (8, 16) for extra in [*EXTRAS, (0, 0), (2, 0)]]
KINDS += [Layout(RGB, 4), Layout(RGB, 8, SIGNED), Layout(RGB, 32), Layout(RGB, 32, FLOAT), Layout(MASK, 1)]
KINDS += [Layout(PALETTE, bits) for bits in (1, 2, 4, 8)] + [Layout(PALETTE, 8, 1, extra) for extra in ((0,), (2,))]
KINDS += [Layout(CMYK, bits, 1, extra) for bits in (8, 16) for extra in ((), (0,), (2,))]
KINDS += [Layout(kind, bits) for kind in (YCBCR, CIELAB) for bits in (8, 16)]

COMMON = [Layout(GREY, 1), Layout(GREY_INVERTED, 1), Layout(GREY, 8), Layout(GREY_INVERTED, 8), Layout(GREY, 16)]
COMMON += [Layout(RGB, 8), Layout(RGB, 8, 1, (2,)), Layout(RGB, 16), Layout(PALETTE, 8), Layout(CMYK, 8)]


def name(layout: Layout) -> str:
    return f"{layout.photometric}-{layout.bits}-{layout.format}-{''.join(map(str, layout.extra))}"


def variants(kind: Layout) -> Iterator[Layout]:
    """Every planar configuration, compression, predictor, order of bytes and of bits, in strips and tiles."""
    codings = [(NONE, 1), (PACKBITS, 1), (DEFLATE, 1)]
    codings += [(coding, 1) for coding in (LZW, ADOBE_DEFLATE)]
    if kind.bits in (8, 16, 32, 64):
        codings += [(coding, 2) for coding in (LZW, ADOBE_DEFLATE)]
    if kind.format == FLOAT:
        codings += [(coding, 3) for coding in (LZW, ADOBE_DEFLATE)]
    if kind.bits == 8 and kind.format == UNSIGNED:
        codings.append((JPEG, 1))
    orders: tuple[Any, ...] = ("<", ">")
    for planar, (coding, predictor), order, tiled, fill in product((1, 2), codings, orders, (False, True), (1, 2)):
        if coding == JPEG and (fill == 2 or (planar == 1 and (kind.extra or kind.samples not in (1, 3, 4)))):
            continue
        if fill == 2 and tiled:
            continue
        yield replace(
            kind, planar=planar, compression=coding, predictor=predictor, order=order, tiled=tiled, fill_order=fill
        )


def tolerance(layout: Layout) -> float:
    """16-bit colour loses its low byte, before alpha or black are multiplied; CIELAB goes through a profile."""
    if layout.compression == JPEG:
        return LOSS
    if layout.photometric == CIELAB or layout.extra[:1] == (1,):
        return 4
    return 1.5 if layout.bits == 16 else 1


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_each_layout_is_read_as_it_is_meant_or_refused_as_unsupported(kind: Layout) -> None:
    for layout in variants(kind):
        samples = make_samples(layout)
        try:
            result = decode(write(layout, samples), CONTRACT)[0]
        except UnsupportedImage:
            continue
        assert np.abs(result - expect_rgb(layout, samples)).max() <= tolerance(layout), layout


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_another_reader_finds_the_samples_that_were_written(kind: Layout) -> None:
    """The oracle of the oracle."""
    for layout in variants(kind):
        if layout.compression == JPEG and layout.photometric in (YCBCR, CIELAB):
            continue  # tifffile converts to RGB
        samples = make_samples(layout)
        found = tifffile.imread(io.BytesIO(write(layout, samples)))
        found = np.moveaxis(found, 0, -1) if layout.planar == 2 and layout.samples > 1 else found
        difference = np.abs(found.reshape(samples.shape).astype(float) - samples.astype(float)).max()
        assert difference <= (LOSS if layout.compression == JPEG else 0), layout


@pytest.mark.parametrize("kind", COMMON, ids=name)
def test_common_layouts_are_answered(kind: Layout) -> None:
    for layout in variants(kind):
        if layout.planar == 1 and layout.fill_order == 1:
            assert decode(write(layout, make_samples(layout)), CONTRACT)[1].format == "TIFF", layout


@pytest.mark.parametrize("order", ["<", ">"])
def test_inverted_grey_of_sixteen_bits_is_refused(order: Any) -> None:
    layout = Layout(GREY_INVERTED, 16, order=order)
    with pytest.raises(UnsupportedImage, match="photometric interpretation 0, 1 samples of 16 bits") as caught:
        decode(write(layout, make_samples(layout)), CONTRACT)
    assert caught.value.code == "unsupported_format"


def one_strip(body: bytes, compression: int, photometric: int, bits: int = 8, **more: Any) -> bytes:
    samples = 1 if photometric in (0, 1, 3) else 3
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [SIDE]),
        257: ("I", [SIDE]),
        258: ("H", [bits] * samples),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        273: ("I", [8]),
        277: ("H", [samples]),
        278: ("I", [SIDE]),
        279: ("I", [len(body)]),
    }
    return assemble(body, tags | {int(tag[1:]): value for tag, value in more.items()}, "<")


def colours() -> np.ndarray:
    return make_samples(Layout(RGB, 8))


@pytest.mark.parametrize(
    ("body", "compression"),
    [
        (lambda: imagecodecs.webp_encode(colours(), lossless=True), 50001),
        (lambda: imagecodecs.jpeg2k_encode(colours(), level=0), 34712),
        (lambda: imagecodecs.jpeg2k_encode(colours(), level=0), 33003),
        (lambda: imagecodecs.jpegxl_encode(colours()), 50002),
        (lambda: imagecodecs.lerc_encode(colours()), 34887),
    ],
    ids=["WebP", "JPEG 2000", "Aperio's JPEG 2000", "JPEG XL", "LERC"],
)
def test_other_compressions_are_unsupported_and_not_damaged(body: Any, compression: int) -> None:
    with pytest.raises(UnsupportedImage, match=f"compression {compression}"):
        decode(one_strip(bytes(body()), compression, RGB), CONTRACT)


def test_jpeg_of_twelve_bits_in_a_tiff_is_unsupported() -> None:
    grey = make_samples(Layout(GREY, 12))[..., 0]
    body = imagecodecs.ljpeg_encode(grey, bitspersample=12)
    with pytest.raises(UnsupportedImage, match="12 bits"):
        decode(one_strip(bytes(body), JPEG, GREY, 12), CONTRACT)


@pytest.mark.parametrize(("across", "down", "subsampling"), [(1, 1, 0), (2, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("compression", [6, JPEG])
def test_jpegs_of_any_subsampling_are_read(across: int, down: int, subsampling: int, compression: int) -> None:
    samples = make_samples(Layout(YCBCR, 8))
    image = Image.frombytes("YCbCr", (SIDE, SIDE), samples.tobytes())
    body = encode(image, "JPEG", quality=100, subsampling=subsampling)
    more: dict[str, Any] = {"t530": ("H", [across, down])}
    if compression == 6:  # the JPEG of TIFF 6.0
        more |= {"t512": ("H", [1]), "t513": ("I", [8]), "t514": ("I", [len(body)])}
    result = decode(one_strip(body, compression, YCBCR, **more), CONTRACT)[0]
    with Image.open(io.BytesIO(body)) as opened:
        assert np.abs(result - np.asarray(opened.convert("RGB")).astype(float)).max() <= 2 * LOSS


def test_uncompressed_colour_of_fewer_samples_is_unsupported() -> None:
    choices: list[dict[str, Any]] = [{"t530": ("H", [2, 2])}, {}]  # 2 by 2 is the default
    for more in choices:
        with pytest.raises(UnsupportedImage):
            decode(one_strip(bytes(SIDE * SIDE * 3 // 2), NONE, YCBCR, **more), CONTRACT)


def test_a_palette_of_eight_bit_numbers_is_refused() -> None:
    """Pillow keeps the upper byte of each number, and would answer a black picture."""
    body = make_samples(Layout(PALETTE, 8)).tobytes()
    for scale in (257, 1):
        numbers = [scale * value for value in [*range(256)] * 3]
        data = one_strip(body, NONE, PALETTE, t320=("H", numbers))
        if scale == 1:
            with pytest.raises(UnsupportedImage):
                decode(data, CONTRACT)
        else:
            np.testing.assert_array_equal(decode(data, CONTRACT)[0][..., 0].tobytes(), body)


def test_inks_other_than_cmyk_are_unsupported() -> None:
    layout = Layout(CMYK, 8)
    data = write(layout, make_samples(layout))
    assert decode(data, CONTRACT)[1].mode == "CMYK"
    tags: dict[str, Any] = {"t258": ("H", [8] * 4), "t277": ("H", [4]), "t332": ("H", [2])}
    with pytest.raises(UnsupportedImage):
        decode(one_strip(make_samples(layout).tobytes(), NONE, CMYK, **tags), CONTRACT)


def test_rgb_of_four_samples_without_a_word_on_the_fourth_has_alpha() -> None:
    samples = make_samples(Layout(RGB, 8, 1, (2,)))
    data = one_strip(samples.tobytes(), NONE, RGB, t258=("H", [8] * 4), t277=("H", [4]))
    result, info = decode(data, CONTRACT)
    assert info.mode == "RGBA"
    assert np.abs(result - expect_rgb(Layout(RGB, 8, 1, (2,)), samples)).max() <= 1


def test_a_directory_that_is_cut_off_is_damaged_not_unsupported() -> None:
    data = write(Layout(RGB, 8), make_samples(Layout(RGB, 8)))
    for end in range(len(data) - 150, len(data) - 4, 3):
        with pytest.raises(ImageError) as caught:
            decode(data[:end], CONTRACT)
        assert caught.value.code == "damaged_image"
