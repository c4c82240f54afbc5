"""images/orientation.py: turns every format upright by EXIF, as browsers do."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.pictures import (
    CONTRACT,
    ORIENTATION,
    decode_pixels,
    encode,
    grey_grid,
    palette_colours,
    palette_image,
    picture,
    square_by_torchvision,
)

from tencrop.images.decode import decode


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_are_turned_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(Image.fromarray(picture(90, 61)), format, exif=exif)
    result, info = decode(data, CONTRACT)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        assert (info.width, info.height) == upright.size == ((61, 90) if orientation > 4 else (90, 61))
        np.testing.assert_array_equal(result, square_by_torchvision(upright.convert("RGB")))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_info_says_whether_exif_turned_the_image(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, info = decode(encode(Image.fromarray(picture(9, 6)), format, exif=exif), CONTRACT)
    assert info.exif_rotated == (orientation != 1)


@pytest.mark.parametrize("orientation", [2, 6])
def test_info_says_whether_a_tiff_was_turned(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, info = decode(encode(Image.fromarray(picture(9, 6)), "TIFF", exif=exif), CONTRACT)
    assert info.exif_rotated


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_of_the_eight_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(picture(90, 61))
    result, info = decode(encode(image, "PNG", exif=exif), CONTRACT)
    np.testing.assert_array_equal(result, square_by_torchvision(image))
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
    data = encode(Image.fromarray(picture(90, 61)), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow tells about it
        result, info = decode(data, CONTRACT)
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(result, square_by_torchvision(image))
    assert not info.exif_rotated


def test_an_orientation_of_xmp_alone_turns_nothing() -> None:
    """Browsers do not look there, and programs that turn an image and take out its EXIF may leave it."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r" tiff:Orientation="6"/></x:xmpmeta>'
    image = Image.fromarray(picture(300, 280))
    for data in (encode(image, "JPEG", xmp=xmp), encode(image, "WEBP", xmp=xmp, lossless=True)):
        info = decode(data, CONTRACT)[1]
        assert (info.width, info.height, info.exif_rotated) == (300, 280, False)


def test_transparency_survives_an_exif_turn() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    data = encode(palette_image(), "PNG", transparency=33, exif=exif)
    expected = palette_colours()
    expected[33] = 255
    np.testing.assert_array_equal(decode_pixels(data), expected[grey_grid()][::-1, ::-1])
