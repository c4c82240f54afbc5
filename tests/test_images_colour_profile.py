"""Colour profiles: applied to the square where the contract says so, ignored where they are damaged."""

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from bench.colour_profiles import SPACES, SRGB, convert, make_profile
from tencrop.images.colour_profile import KEPT_BYTES, MAX_PROFILE_BYTES, _open_transform, convert_to_srgb
from tencrop.images.decode import decode, fit_square
from tencrop.images.errors import ImageError
from tencrop.model.contract import DECODING, Contract, Decoding

APPLIED, IGNORED = Contract(decode=DECODING), Contract(decode=Decoding(DECODING.jpeg_scale_from))
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
NEAR = 2.0  # of 255, the mean difference


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth colours, for a lossy format must not hide what a profile moves."""
    corners = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8)
    return Image.fromarray(corners).resize((300, 280), Image.Resampling.BICUBIC)


def encode(image: Image.Image, format: str, profile: bytes = b"") -> bytes:
    file = io.BytesIO()
    if format == "HEIF":
        pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, icc_profile=profile)
    else:
        image.save(file, format, icc_profile=profile, **FORMATS[format])
    return file.getvalue()


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("format", [*FORMATS, "HEIF"])
def test_a_photograph_looks_as_it_was_whatever_its_cameras_space(picture: Image.Image, format: str, space: str) -> None:
    profile = make_profile(space)
    stored = encode(convert(picture, SRGB, profile), format, profile.tobytes())
    wanted = fit_square(picture, IGNORED)
    assert far(decode(stored, APPLIED)[0], wanted) < NEAR
    assert far(decode(stored, IGNORED)[0], wanted) > 2 * NEAR


def test_a_pil_image_is_converted_as_its_file_is(picture: Image.Image) -> None:
    profile = make_profile("Display P3")
    stored = encode(convert(picture, SRGB, profile), "PNG", profile.tobytes())
    with Image.open(io.BytesIO(stored)) as opened:
        assert np.array_equal(fit_square(opened, APPLIED), decode(stored, APPLIED)[0])


def test_an_srgb_profile_changes_no_bit(picture: Image.Image) -> None:
    stored = encode(picture, "PNG", SRGB.tobytes())
    assert np.array_equal(decode(stored, APPLIED)[0], decode(stored, IGNORED)[0])


@pytest.mark.parametrize("mode", ["L", "CMYK", "1", "I;16"])
def test_profiles_of_grey_and_of_inks_are_ignored(picture: Image.Image, mode: str) -> None:
    stored = encode(picture.convert("L").convert(mode) if mode != "CMYK" else picture.convert(mode), "TIFF", b"x" * 999)
    assert np.array_equal(decode(stored, APPLIED)[0], decode(stored, IGNORED)[0])


def grey_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    "profile",
    [b"x", b"x" * 200, make_profile("Display P3").tobytes()[:200], grey_profile(), bytes(MAX_PROFILE_BYTES + 1)],
    ids=["short", "no profile", "truncated", "not of RGB", "too long"],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_that_cannot_be_applied_is_ignored(picture: Image.Image, format: str, profile: bytes) -> None:
    if format == "JPEG" and len(profile) > MAX_PROFILE_BYTES:
        profile = profile[: 2 << 20]  # the most that a JPEG's segments hold is 16 MB; zeros are no profile either
    stored = encode(picture, format, profile)
    assert np.array_equal(decode(stored, APPLIED)[0], decode(stored, IGNORED)[0])


@pytest.mark.slow
def test_a_png_whose_profile_is_a_bomb_is_answered(picture: Image.Image) -> None:
    """400 MB of zeros in 0.4 MB. Nothing is inflated beyond the longest profile."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    body = b"iCCPname\0\0" + packed
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    plain = encode(picture, "PNG")
    stored = plain[:33] + chunk + plain[33:]  # behind the header
    assert np.array_equal(decode(stored, APPLIED)[0], decode(plain, IGNORED)[0])


@pytest.mark.slow
def test_no_damaged_profile_is_more_than_ignored(picture: Image.Image) -> None:
    square = picture.resize((256, 256))
    good = [SRGB.tobytes(), *(make_profile(space).tobytes() for space in SPACES)]
    for seed in range(1200):
        draw = random.Random(seed)
        profile = bytearray(draw.choice(good))
        for _ in range(draw.choice((1, 4, 30))):
            profile[draw.randrange(len(profile))] = draw.randrange(256)
        if seed % 5 == 0:
            del profile[draw.randrange(len(profile)) :]
        assert convert_to_srgb(square, bytes(profile)).size == square.size
        if seed % 40 == 0:
            try:
                decode(encode(picture.resize((32, 32)), "JPEG", bytes(profile)), APPLIED)
            except ImageError as error:
                pytest.fail(str(error))


def with_chain(profile: bytes, elements: int) -> bytes:
    """The profile with a tag D2B1: a chain of matrices, all at one place, that lead to black (ICC.1:2010, 10.14)."""
    (tags,) = struct.unpack_from(">I", profile, 128)
    end = 132 + 12 * tags
    table = [struct.unpack_from(">4sII", profile, at) for at in range(132, end, 12)]
    matrix = b"matf" + struct.pack(">4xHH12f", 3, 3, *[0.0] * 12)
    positions = struct.pack(">II", 16 + 8 * elements, len(matrix)) * elements
    chain = b"mpet" + struct.pack(">4xHHI", 3, 3, elements) + positions + matrix
    table = [(name, at + 12, size) for name, at, size in table] + [(b"D2B1", len(profile) + 12, len(chain))]
    packed = b"".join(struct.pack(">4sII", *tag) for tag in table)
    whole = profile[4:128] + struct.pack(">I", tags + 1) + packed + profile[end:] + chain
    return struct.pack(">I", len(whole) + 4) + whole


@pytest.mark.parametrize("elements", [3, 300_000])
def test_a_chain_of_any_number_of_elements_is_not_read(elements: int) -> None:
    """Each element takes a millisecond. Browsers go by the other tags, too."""
    square, profile = Image.effect_noise((64, 64), 90).convert("RGB"), make_profile("Display P3").tobytes()
    chained = with_chain(profile, elements)
    assert convert_to_srgb(square, chained).tobytes() == convert_to_srgb(square, profile).tobytes()


def test_a_profile_is_opened_once_unless_it_is_long() -> None:
    square, profile = Image.new("RGB", (4, 4), (200, 100, 50)), make_profile("Display P3").tobytes()
    _open_transform.cache_clear()
    converted = [convert_to_srgb(square, profile).tobytes() for _ in range(3)]
    assert len({*converted}) == 1 and _open_transform.cache_info().misses == 1
    assert convert_to_srgb(square, profile + bytes(KEPT_BYTES)).tobytes() == converted[0]
    assert _open_transform.cache_info().currsize == 1


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    square = Image.effect_noise((64, 64), 90).convert("RGB")
    assert convert_to_srgb(square, SRGB.tobytes()) is square
