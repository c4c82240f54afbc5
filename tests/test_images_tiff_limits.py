"""images/tiff_limits.py: refuses a TIFF that costs far more than its pixels, and reads every common one."""

import io
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import noise_jpeg

from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.images.limits import MAX_SCANS
from tencrop.model.contract import Contract

CONTRACT = Contract()

LONG, SHORT, BYTE, SBYTE, RATIONAL = 4, 3, 1, 6, 5
SIZE = {LONG: "I", SHORT: "H", BYTE: "B", SBYTE: "b", RATIONAL: "II"}


def tiff(body: bytes, changes: Mapping[int, tuple[int, Sequence[int]]], order: str = "<") -> bytes:
    """Grey, 16x16, uncompressed, pixels at byte 8. `changes`: tag -> type and numbers; without numbers no such tag."""
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, [16]),
        257: (LONG, [16]),
        258: (SHORT, [8]),
        259: (SHORT, [1]),
        262: (SHORT, [1]),
        273: (LONG, [8]),
        277: (SHORT, [1]),
        278: (LONG, [16]),
        279: (LONG, [len(body)]),
    }
    entries, far, start = b"", b"", 8 + len(body)
    for tag, (kind, numbers) in sorted({**tags, **changes}.items()):
        if not numbers:
            continue
        value = struct.pack(f"{order}{len(numbers)}{SIZE[kind][0]}", *numbers)
        count = len(numbers) // len(SIZE[kind])
        if len(value) > 4:
            value, far = struct.pack(order + "I", start + len(far)), far + value
        entries += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    many = struct.pack(order + "H", len(entries) // 12)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", start + len(far)) + body + far + many + entries + bytes(4)


def tiles(across: int, number: int, packed: int, compression: int = 32773) -> dict[int, tuple[int, Sequence[int]]]:
    """Tags of `number` tiles of `across` pixels a side, all of them the same `packed` bytes."""
    side = 16 * math.isqrt(number)
    sizes: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, [side]),
        257: (LONG, [side]),
        259: (SHORT, [compression]),
    }
    return sizes | {
        322: (LONG, [across]),
        323: (LONG, [across]),
        324: (LONG, [8] * number),
        325: (LONG, [packed] * number),
    }


def renumber(data: bytes, tag: int, number: int) -> bytes:
    """Give a tag the number of another one."""
    return data.replace(struct.pack("<HH", tag, LONG), struct.pack("<HH", number, LONG))


GREY = bytes(range(256))

REFUSED: dict[str, tuple[bytes, str]] = {
    "one tile of 268 megapixels": (tiff(b"\x81\0" * 8, tiles(16384, 1, 4)), "tiles are far larger"),
    "tiles that are the same bytes": (tiff(b"\x80" * 9999 + b"\x81\0" * 2, tiles(16, 100, 10003)), "again and again"),
    "offsets that are bytes": (tiff(GREY, {273: (BYTE, [8] * 100_000)}), "is of type 1"),
    "a million offsets": (tiff(GREY, {273: (LONG, [8] * 1_000_000)}), "too many numbers"),
    "its strips over and over": (tiff(GREY, {273: (LONG, [8] * 100), 278: (LONG, [8])}), "more strips or tiles"),
    "signed bytes by the million": (tiff(GREY, {282: (SBYTE, [1] * 1_000_000)}), "too many numbers"),
    "colours that are bytes": (tiff(GREY, {320: (BYTE, [1] * 768)}), "is of type 1"),
    "a resolution of thousands of numbers": (tiff(GREY, {282: (RATIONAL, [1, 3] * 2000)}), "too many numbers"),
    "two words of where its pixels lie": (renumber(tiff(GREY, {280: (LONG, [8])}), 280, 273), "two tags 273"),
    "a directory behind the end": (b"II*\0" + struct.pack("<I", 1 << 20), "the TIFF ends too early"),
    "big-endian numbers in a little-endian file": (b"MM*\0" + tiff(GREY, {})[4:], "a kind that is not read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_tiff_that_asks_for_more_than_its_pixels_is_refused(what: str) -> None:
    data, why = REFUSED[what]
    with pytest.raises(ImageError, match=why):
        decode(data, CONTRACT)


def jpeg_of_scans(scans: int, mode: str = "L") -> bytes:
    """A progressive JPEG, 16x16; the head of its last scan stands there again and again."""
    packed = io.BytesIO()
    Image.frombytes("L", (16, 16), GREY).convert(mode).save(packed, "JPEG", progressive=True, subsampling=0)
    data = packed.getvalue()
    last = data.rindex(b"\xff\xda")
    head = data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4])]
    return data[:-2] + head * (scans - data.count(b"\xff\xda")) + data[-2:]


def test_a_jpeg_in_a_tiff_has_as_many_scans_as_any_jpeg() -> None:
    def tiff_of(scans: int) -> bytes:
        return tiff(jpeg_of_scans(scans), {259: (SHORT, [7])})

    with pytest.raises(ImageError, match="a TIFF with a JPEG of more than 64 scans"):
        decode(tiff_of(MAX_SCANS + 1), CONTRACT)
    np.testing.assert_array_equal(decode(tiff_of(MAX_SCANS), CONTRACT)[0], decode(tiff_of(6), CONTRACT)[0])


def test_the_jpeg_of_tiff_6_has_as_many_scans() -> None:
    def tiff_of(scans: int) -> bytes:
        body = jpeg_of_scans(scans, "RGB")
        tags: dict[int, tuple[int, Sequence[int]]] = {258: (SHORT, [8] * 3), 259: (SHORT, [6]), 262: (SHORT, [6])}
        tags |= {277: (SHORT, [3]), 513: (LONG, [8]), 514: (LONG, [len(body)]), 530: (SHORT, [1, 1])}
        return tiff(body, tags)

    for scans in (MAX_SCANS + 1, 200):
        with pytest.raises(ImageError, match="a TIFF with a JPEG of more than 64 scans"):
            decode(tiff_of(scans), CONTRACT)


def test_each_strip_and_tile_that_is_a_jpeg_counts_for_itself() -> None:
    few, many = jpeg_of_scans(MAX_SCANS - 1), jpeg_of_scans(MAX_SCANS + 1)
    for second, place in ((few, 273), (many, 273), (few, 324), (many, 324)):
        starts, sizes = [8, 8 + len(few)], [len(few), len(second)]
        tags: dict[int, tuple[int, Sequence[int]]] = {257: (LONG, [32]), 259: (SHORT, [7]), place: (LONG, starts)}
        if place == 273:
            tags |= {279: (LONG, sizes)}
        else:
            tags |= {tag: (LONG, []) for tag in (273, 278, 279)}
            tags |= {322: (LONG, [16]), 323: (LONG, [16]), 325: (LONG, sizes)}
        data = tiff(few + second, tags)
        if second is few:
            assert decode(data, CONTRACT)[1].height == 32
        else:
            with pytest.raises(ImageError, match="more than 64 scans"):
                decode(data, CONTRACT)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_plain_tiff_is_read(order: str) -> None:
    want = np.asarray(
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).resize((256, 256), Image.Resampling.BILINEAR)
    )
    np.testing.assert_array_equal(decode(tiff(GREY, {282: (RATIONAL, [72, 1])}, order), CONTRACT)[0][..., 0], want)


def test_tiles_strips_and_pages_of_every_day_are_read() -> None:
    want = decode(tiff(GREY, {}), CONTRACT)[0]
    square = np.frombuffer(GREY, np.uint8).reshape(16, 16)
    tiled: dict[int, tuple[int, Sequence[int]]] = {
        322: (SHORT, [16]),
        323: (SHORT, [16]),
        324: (LONG, [8]),
        325: (LONG, [256]),
    }
    without: dict[int, tuple[int, Sequence[int]]] = {273: (LONG, []), 278: (LONG, []), 279: (LONG, [])}
    np.testing.assert_array_equal(decode(tiff(GREY, without | tiled), CONTRACT)[0], want)
    strips = {273: (SHORT, [8, 136]), 278: (SHORT, [8]), 279: (SHORT, [128, 128])}
    np.testing.assert_array_equal(decode(tiff(GREY, strips), CONTRACT)[0], want)
    deflated = zlib.compress(GREY)
    np.testing.assert_array_equal(decode(tiff(deflated, {259: (SHORT, [8])}), CONTRACT)[0], want)
    np.testing.assert_array_equal(
        decode(tiff(deflated, {259: (SHORT, [8]), 279: (LONG, [])}), CONTRACT)[0], want
    )  # libtiff finds its end
    pages = [Image.fromarray(square)] * 70
    packed = io.BytesIO()
    pages[0].save(packed, "TIFF", compression="jpeg", save_all=True, append_images=pages[1:])
    assert decode(packed.getvalue(), CONTRACT)[1].format == "TIFF"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
@pytest.mark.parametrize("big", [False, True])
def test_compressed_tiffs_are_read(compression: str, big: bool) -> None:
    image = Image.open(io.BytesIO(noise_jpeg())).convert("1" if compression == "group4" else "RGB")
    packed = io.BytesIO()
    image.save(packed, "TIFF", compression=compression, big_tiff=big)
    assert (
        np.abs(decode(packed.getvalue(), CONTRACT)[0].astype(int).mean() - np.asarray(image.convert("RGB")).mean()) < 3
    )


def test_directories_unrelated_to_the_pixels_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow makes three objects of each of their fractions."""
    data = tiff(bytes(256), {0x8769: (LONG, [8])})  # one without entries
    read: list[int] = []
    get_ifd = Image.Exif.get_ifd

    def listened(self: Image.Exif, tag: int) -> dict[int, Any]:
        read.append(tag)
        return get_ifd(self, tag)

    monkeypatch.setattr(Image.Exif, "get_ifd", listened)
    assert decode(data, CONTRACT)[1].format == "TIFF" and not read
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
    assert read
