"""images/damage.py: an image that cannot be decoded is refused in plain words, whatever Pillow says."""

import builtins
import re
import struct
import warnings
from pathlib import Path

import mutants
import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile
from support.pictures import CONTRACT, encode, make_png, picture

from tencrop.images import decode as decoding
from tencrop.images.damage import explain_failure
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError, TruncatedImage, UnsupportedImage

EXCEPTIONS = [name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)]
EXCEPTIONS += ["UnidentifiedImageError", "DecompressionBomb", "struct.error", "Traceback", "Exception"]
PYTHON = re.compile(r"object|NoneType|None\b|0x[0-9a-f]{4}|b'|b\"|<[a-z]|\n|\(\)|decoder error|" + "|".join(EXCEPTIONS))


def refusal(data: bytes) -> ImageError | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            decode(data, CONTRACT)
        except ImageError as error:
            return error
    return None


@pytest.mark.slow
def test_no_message_of_a_damaged_image_is_written_for_programmers() -> None:
    refusals = [error for data in mutants.mutants(4000, 18) if (error := refusal(data))]
    refusals += [
        error for data in mutants.originals() for end in range(0, len(data), 97) if (error := refusal(data[:end]))
    ]
    messages = {error.what for error in refusals}
    assert len(refusals) > 2000 and len(messages) > 20
    odd = [message for message in messages if PYTHON.search(message)]
    assert not odd
    assert all(len(message) < 250 and message.isprintable() for message in messages)


def test_no_message_of_pillow_comes_through() -> None:
    """Each message in Pillow's sources of these formats, as if it were raised."""
    places = Path(PIL.__file__).parent
    texts: set[str] = set()
    for name in ("Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Mpo"):
        texts |= set(re.findall(r'msg = f?"(.*)"', (places / f"{name}ImagePlugin.py").read_text()))
    texts |= set(re.findall(r'msg = f?"(.*)"', (places / "ImageFile.py").read_text()))
    assert len(texts) > 80
    data = encode(Image.fromarray(picture(8, 8)), "PNG")
    for text in texts:
        for kind in (OSError, SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            what = explain_failure(kind(text), data).what
            assert re.fullmatch(
                r"damaged image: it (ends too early|cannot be decoded)|a BMP of this layout is .*", what
            )


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_an_image_that_is_cut_off_ends_too_early(format: str) -> None:
    data = encode(Image.fromarray(picture(120, 90)), format)
    error = refusal(data[: len(data) // 2])
    assert error is not None and error.code == "damaged_image"
    if format != "WEBP":  # whose decoder does not tell
        assert isinstance(error, TruncatedImage)
        assert re.fullmatch(r"damaged image: it ends too early( \(\d+ bytes are missing or unread\))?", error.what), (
            error.what
        )


def test_a_lost_decoder_is_damage_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'x'\n<y at 0x7f00>")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    error = refusal(encode(Image.fromarray(picture(8, 8)), "PNG"))
    assert error is not None and error.what == "damaged image: it cannot be decoded"
    with pytest.raises(ImageError, match=r"^damaged image: it cannot be decoded$"):
        decoding.fit_square(Unloadable(), CONTRACT)


class Unloadable(Image.Image):
    """As a PIL image whose file is gone."""

    @property
    def size(self) -> tuple[int, int]:
        return 8, 8

    def copy(self) -> Image.Image:
        raise OSError("image file is closed <x at 0x7f00>")


def bmp(header: int, depth: int, compression: int, masks: tuple[int, ...] = ()) -> bytes:
    """8x8 pixels of zeros."""
    rows = bytes(8 * 8 * 4)
    more = struct.pack(f"<{len(masks)}I", *masks)
    fields = struct.pack("<IiiHHIIiiII", header, 8, 8, 1, depth, compression, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(more) + len(rows), 0, 0, 54 + len(more)) + fields + more + rows


def jpeg_with(bits: int = 8, coding: int = 0xC0, components: int = 3) -> bytes:
    data = bytearray(encode(Image.fromarray(picture(24, 24)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4], data[at + 9] = coding, bits, components
    if components != 3:
        data[at + 2 : at + 4] = struct.pack(">H", 8 + 3 * components)
        data[at + 10 : at + 19] = bytes([1, 0x11, 0]) * components
    return bytes(data)


UNSUPPORTED = {
    "JPEG of 12 bits": jpeg_with(bits=12),
    "JPEG of 12 bits, extended": jpeg_with(bits=12, coding=0xC1),
    "JPEG, differential": jpeg_with(coding=0xC5),
    "JPEG of 2 components": jpeg_with(components=2),
    "BMP of 10-10-10 bits": bmp(40, 32, 3, (0x3FF00000, 0xFFC00, 0x3FF)),
    "BMP of 4-4-4 bits": bmp(40, 16, 3, (0xF00, 0xF0, 0xF)),
    "BMP of a JPEG": bmp(40, 24, 4),
    "BMP of a PNG": bmp(40, 24, 5),
    "big-endian BigTIFF": b"MM\0+\0\x08\0\0" + bytes(100),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_a_sound_image_of_a_kind_that_is_not_read_is_unsupported_and_not_damaged(kind: str) -> None:
    error = refusal(UNSUPPORTED[kind])
    assert isinstance(error, UnsupportedImage) and error.code == "unsupported_format"
    assert error.what.endswith("is not supported") or "is not supported (" in error.what


def test_a_header_that_no_program_writes_is_damage() -> None:
    for data in (bmp(40, 31, 0), bmp(41, 24, 0), bmp(40, 24, 99), jpeg_with(bits=77)):
        error = refusal(data)
        assert error is not None and error.code == "damaged_image"


def test_a_damaged_png_says_so() -> None:
    whole = make_png(8, 8, 8, 2, b"\0" * 25 * 8)
    assert np.array_equal(decode(whole, CONTRACT)[0], np.zeros((256, 256, 3)))
    error = refusal(whole.replace(b"IHDR", b"IHDX"))
    assert error is not None and error.what.startswith("damaged image: ")
