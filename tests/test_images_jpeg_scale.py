"""images/jpeg_scale.py: large JPEGs are decoded at a part of their size, by the contract's rule and no other."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.pictures import ORIENTATION, encode, picture, square_by_torchvision

from tencrop.images import decode as decode_module
from tencrop.images.decode import decode
from tencrop.images.jpeg_scale import choose_divisor, has_several_scans
from tencrop.model.contract import DECODING, Contract, Decoding

CONTRACT = Contract(decode=DECODING)
FULL = Contract()


@pytest.mark.parametrize(
    ("shorter", "divisor"),
    [(1, 1), (512, 1), (1022, 1), (1023, 1), (1024, 2), (2044, 2), (2045, 4), (4088, 4), (4089, 8), (7000, 8)],
)
@pytest.mark.parametrize("longer", [0, 1, 999])
def test_the_smallest_part_of_at_least_twice_the_square_is_taken(shorter: int, longer: int, divisor: int) -> None:
    for size in ((shorter, shorter + longer), (shorter + longer, shorter)):
        assert choose_divisor(*size, CONTRACT) == divisor
        assert choose_divisor(*size, FULL) == 1


@pytest.mark.parametrize(
    ("resize", "least", "divisor"), [(292, 1024, 1), (292, 1, 1), (257, 1, 1), (256, 1025, 1), (128, 1024, 4)]
)
def test_the_contract_sets_the_rule(resize: int, least: int, divisor: int) -> None:
    contract = Contract(resize=resize, crop=100, decode=Decoding(least))
    assert choose_divisor(1024, 1500, contract) == divisor


def read_at(data: bytes, divisor: int) -> Image.Image:
    """Pillow's own scaled decoding, asked for by the exact size of the result."""
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    image.draft(None, (width // divisor, height // divisor))
    image.load()
    assert image.size == (-(-width // divisor), -(-height // divisor))
    return image


@pytest.mark.parametrize(
    ("width", "height", "divisor"),
    [
        (1023, 1100, 1),
        (1024, 1100, 2),
        (1025, 1027, 2),
        (2044, 2101, 2),
        (2045, 2101, 4),
        (2101, 2046, 4),
        pytest.param(4089, 4101, 8, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pixels_are_those_of_the_scaled_decoder(width: int, height: int, divisor: int, mode: str) -> None:
    data = encode(Image.fromarray(picture(width, height)).convert(mode), "JPEG")
    square, info = decode(data, CONTRACT)
    np.testing.assert_array_equal(square, square_by_torchvision(read_at(data, divisor).convert("RGB")))
    assert info == ("JPEG", mode, width, height, False)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_formats_are_decoded_in_full(format: str) -> None:
    data = encode(Image.fromarray(picture(1100, 1030)), format)
    np.testing.assert_array_equal(decode(data, CONTRACT)[0], decode(data, FULL)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_told_is_that_of_the_upright_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(Image.fromarray(picture(1100, 1030)), "JPEG", exif=exif)
    square, info = decode(data, CONTRACT)
    full, told = decode(data, FULL)
    assert info == told
    assert np.abs(square.astype(int) - full).mean() < 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_without_its_end_is_scaled_too(options: dict[str, bool]) -> None:
    data = encode(Image.fromarray(picture(1100, 1030)), "JPEG", **options)
    np.testing.assert_array_equal(decode(data[:-2], CONTRACT)[0], decode(data, CONTRACT)[0])


def test_several_scans_are_told_from_one() -> None:
    image = Image.fromarray(picture(40, 40))
    baseline, progressive = encode(image, "JPEG"), encode(image, "JPEG", progressive=True)
    thumbnail = encode(image, "JPEG", exif=b"Exif\0\0" + progressive)
    frame = baseline.index(b"\xff\xc0")
    one_component = baseline.replace(b"\xff\xda\x00\x0c\x03\x01\x00", b"\xff\xda\x00\x0c\x01\x01\x00")
    assert frame > 0 and one_component != baseline
    assert not has_several_scans(baseline) and not has_several_scans(thumbnail)
    arithmetic = progressive.replace(b"\xff\xc2", b"\xff\xca")
    assert all(map(has_several_scans, (progressive, arithmetic, one_component)))


@pytest.mark.parametrize(("progressive", "is_locked"), [(False, False), (True, True)])
def test_only_jpegs_that_fill_the_memory_are_decoded_alone(
    progressive: bool, is_locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = []

    class Lock:
        def __enter__(self) -> None:
            entered.append(True)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(decode_module, "one_large", Lock())
    monkeypatch.setattr(decode_module, "LARGE", 1_000_000)
    data = encode(Image.fromarray(picture(1100, 1030)), "JPEG", progressive=progressive)
    decode(data, CONTRACT)
    assert bool(entered) == is_locked
    decode(data, FULL)
    assert entered


def test_a_contract_that_scales_has_another_hash_and_an_older_one_keeps_its_own() -> None:
    assert Contract().sha256 == "631a452381d95ac4be95a07f13d9e3c9548a66bf5eccadc051a31a3e79f10e3f"
    assert replace(Contract(), decode=DECODING).sha256 != Contract().sha256
