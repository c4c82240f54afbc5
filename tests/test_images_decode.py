"""images/decode.py: bit-equal to torchvision, and only ImageError for bad bytes."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    CONTRACT,
    ORIENTATION,
    decode_pixels,
    encode,
    make_png,
    picture,
    square_by_torchvision,
)
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tencrop.common.lfs_pointer import POINTER
from tencrop.images.decode import MAX_ASPECT, MAX_PIXELS, decode, fit_square
from tencrop.images.errors import ImageError, ImageTooLarge, UnsupportedImage
from tencrop.images.formats import FORMATS
from tencrop.model.contract import Contract

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


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_are_bit_equal_to_torchvision(photographs: dict[str, Path], name: str) -> None:
    data = photographs[name].read_bytes()
    result, info = decode(data, CONTRACT)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(result, square_by_torchvision(image.convert("RGB")))
        assert info == ("JPEG", "RGB", image.width, image.height, False)
    assert result.shape == (256, 256, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_odd_sizes_are_bit_equal_to_torchvision(width: int, height: int) -> None:
    image = Image.fromarray(picture(width, height))
    np.testing.assert_array_equal(decode_pixels(encode(image, "PNG")), square_by_torchvision(image))


@pytest.mark.parametrize("resize", [224, 255, 64])
def test_the_contract_sets_the_size(resize: int) -> None:
    image = Image.fromarray(picture(300, 211))
    expected = Compose([Resize(resize, antialias=True), CenterCrop(resize)])(image)
    result, _ = decode(encode(image, "PNG"), Contract(resize=resize, crop=60))
    np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(333, 500), (97, 31), (300, 257)])
def test_bicubic_squares_are_bit_equal_to_torchvision(width: int, height: int) -> None:
    image = Image.fromarray(picture(width, height))
    wanted = np.asarray(Compose([Resize(256, InterpolationMode.BICUBIC, antialias=True), CenterCrop(256)])(image))
    contract = Contract(filter="bicubic")
    np.testing.assert_array_equal(decode(encode(image, "PNG"), contract)[0], wanted)
    np.testing.assert_array_equal(fit_square(image, contract), wanted)
    assert (wanted != square_by_torchvision(image)).any()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG"])
def test_each_format_is_read(format: str) -> None:
    image = Image.fromarray(picture(90, 60))
    data = encode(image, format, **({"lossless": True} if format == "WEBP" else {}))
    result, info = decode(data, CONTRACT)
    assert (info.format, info.width, info.height) == (format, 90, 60)
    with Image.open(io.BytesIO(data)) as again:
        np.testing.assert_array_equal(result, square_by_torchvision(again.convert("RGB")))
    if format not in ("GIF", "JPEG"):
        np.testing.assert_array_equal(result, square_by_torchvision(image))


def test_a_single_pixel_is_answered() -> None:
    result = decode_pixels(encode(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG"))
    assert (result == (10, 20, 30)).all()
    assert result.shape == (256, 256, 3)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    values = picture(256, 256)
    np.testing.assert_array_equal(decode_pixels(encode(Image.fromarray(values), "PNG")), values)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_taken(format: str) -> None:
    first, second = Image.fromarray(picture(80, 60)), Image.new("RGB", (80, 60), (255, 0, 0))
    options = {"lossless": True} if format == "WEBP" else {}
    still = encode(first, format, **options)
    moving = encode(first, format, save_all=True, append_images=[second, second], **options)
    assert len(moving) > len(still)
    assert np.abs(decode_pixels(moving).astype(int) - square_by_torchvision(first)).mean() < (
        12 if format == "GIF" else 0.01
    )  # a GIF has 256 colours


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_truncated_image_is_damaged(format: str, share: float) -> None:
    data = encode(Image.fromarray(picture(120, 90)), format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)], CONTRACT)
    assert caught.value.code == "damaged_image"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("length", [12, 16, 20, 40])
def test_a_listed_format_cut_inside_its_header_is_damaged_not_unsupported(format: str, length: int) -> None:
    """The signature is there: 400 and not 415."""
    data = encode(Image.fromarray(picture(120, 90)), format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ImageError) as caught:
            decode(data[:length], CONTRACT)
    assert caught.value.code == "damaged_image"


@pytest.mark.parametrize(
    "data",
    [b"\0", b"no image", b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(1000), b"\xff" * 99],
)
def test_bytes_that_are_not_an_image_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match="not an image of a known format") as caught:
        decode(data, CONTRACT)
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty: it has no bytes"), (POINTER + b"v1\noid sha256:0\nsize 9\n", "a Git LFS pointer in place of")],
    ids=["empty file", "pointer"],
)
def test_what_a_download_left_in_place_of_an_image_is_named(data: bytes, message: str) -> None:
    with pytest.raises(UnsupportedImage, match=message):
        decode(data, CONTRACT)


@pytest.mark.parametrize("format", ["PPM", "TGA", "ICO", "JPEG2000", "PCX"])
def test_a_format_that_pillow_knows_but_the_list_does_not_is_unsupported(format: str) -> None:
    with pytest.raises(UnsupportedImage):
        decode(encode(Image.fromarray(picture(64, 64)), format), CONTRACT)


def header_only(width: int, height: int) -> bytes:
    return make_png(width, height, 8, 2, b"")


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
        decode(encode(Image.new("RGB", (width, height)), "PNG"), CONTRACT)


@pytest.mark.parametrize(("width", "height"), [(100, 1), (1, 100)])
def test_the_longest_aspect_is_answered(width: int, height: int) -> None:
    image = Image.fromarray(picture(width, height))
    np.testing.assert_array_equal(decode_pixels(encode(image, "PNG")), square_by_torchvision(image))


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_bytes_raise_nothing_but_image_error(format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {} if format in ("GIF", "BMP") else {"exif": exif}
    data = encode(Image.fromarray(picture(40, 30)), format, **options)
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
