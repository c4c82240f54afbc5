"""images/decode.py: what a few bytes may cost. Small files that would be decoded for hours, or take gigabytes, are refused."""

import io
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tencrop.images.decode import decode, decode_small
from tencrop.images.errors import ImageError
from tencrop.images.limits import MAX_PIECES, MAX_SCANS
from tencrop.model.contract import Contract

CONTRACT = Contract()
SOS, EOI = b"\xff\xda", b"\xff\xd9"


def jpeg(progressive: bool = True) -> bytes:
    packed = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(packed, "JPEG", progressive=progressive)
    return packed.getvalue()


def with_scans(more: int, between: bytes = b"", before: bytes = b"", data: bytes | None = None) -> bytes:
    """The last scan's head again and again: the decoder goes over all pixels for each of them."""
    data = data or jpeg()
    end = data.index(EOI + data[:2]) if EOI + data[:2] in data else len(data) - 2  # of the first image
    last = data.rindex(SOS, 0, end)
    head = data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4])]
    return data[:end] + before + (between + head) * more + data[end:]


def test_a_jpeg_goes_over_its_pixels_so_many_times_and_no_more() -> None:
    scans = jpeg().count(SOS)
    assert 1 < scans < MAX_SCANS
    np.testing.assert_array_equal(decode(with_scans(MAX_SCANS - scans), CONTRACT)[0], decode(jpeg(), CONTRACT)[0])
    for read in (decode, decode_small):
        with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
            read(with_scans(MAX_SCANS - scans + 1), CONTRACT)


def test_the_first_of_several_images_is_bound_as_well() -> None:
    packed = io.BytesIO()
    images = [Image.open(io.BytesIO(jpeg())) for _ in range(2)]
    images[0].save(packed, "MPO", save_all=True, append_images=images[1:], progressive=True)
    assert Image.open(io.BytesIO(packed.getvalue())).format == "MPO"
    assert decode(packed.getvalue(), CONTRACT)[1].format == "MPO"
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        decode(with_scans(MAX_SCANS, data=packed.getvalue()), CONTRACT)


def test_scans_cannot_hide_in_a_segment_that_the_decoder_passes_over() -> None:
    restarting = jpeg()[:2] + b"\xff\xdd\0\4\0\1" + jpeg()[2:]  # so that it goes on behind a marker that is none
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        decode(with_scans(300, before=b"\xff\2\xff\xff", data=restarting), CONTRACT)


def test_scans_behind_many_segments_are_not_looked_for_for_ever() -> None:
    with pytest.raises(ImageError, match=f"{MAX_PIECES} in all"):
        decode(with_scans(100, between=b"\xff\xfe\0\2" * MAX_PIECES), CONTRACT)


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_the_end_of_a_jpeg_does_not_count(progressive: bool) -> None:
    film = (SOS + bytes(40)) * 1000  # any bytes, as of the film that a telephone puts there
    np.testing.assert_array_equal(decode(jpeg(progressive) + film, CONTRACT)[0], decode(jpeg(progressive), CONTRACT)[0])


def chunks(kind: bytes, many: int) -> bytes:
    packed = io.BytesIO()
    Image.new("L", (40, 30)).save(packed, "PNG")
    data = packed.getvalue()
    at = data.index(b"IDAT") - 4
    return data[:at] + (struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))) * many + data[at:]


HEADERS: dict[str, Callable[[int], bytes]] = {
    "JPEG of empty segments": lambda many: b"\xff\xd8" + b"\xff\xe9\0\2" * many + jpeg()[2:],
    "JPEG of filling": lambda many: b"\xff\xd8" + b"\xff" * many + jpeg()[2:],
    "PNG of empty chunks": lambda many: chunks(b"prVt", many),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_a_million_pieces_is_refused_before_it_is_read(header: str) -> None:
    assert decode(HEADERS[header](1000), CONTRACT)[0].shape == (256, 256, 3)
    for read in (decode, decode_small):
        with pytest.raises(ImageError, match=r"in too many pieces|more than 100000 chunks"):
            read(HEADERS[header](1_000_000), CONTRACT)


def test_what_a_png_tells_besides_its_pixels_does_not_count() -> None:
    """Pillow keeps texts and its own notes in one place, and refuses profiles and texts of more than 1 MiB."""
    packed = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(packed, "PNG", bits=8)
    plain = packed.getvalue()
    profile = b"p\0\0" + zlib.compress(bytes(3 << 20))
    for kind, body in (
        (b"tEXt", b"transparency\0x"),
        (b"tEXt", b"interlace\0x"),
        (b"iCCP", profile),
        (b"zTXt", b"k\0\0" + profile[3:]),
    ):
        chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for at in (33, len(plain) - 12):  # behind IHDR, before IEND
            np.testing.assert_array_equal(
                decode(plain[:at] + chunk + plain[at:], CONTRACT)[0], decode(plain, CONTRACT)[0]
            )


def test_a_jpeg_has_so_many_exif_segments() -> None:
    segment = b"\xff\xe1\0\x08Exif\0\0"
    assert decode(b"\xff\xd8" + segment * 16 + jpeg()[2:], CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match="16 segments of EXIF"):
        decode(b"\xff\xd8" + segment * 17 + jpeg()[2:], CONTRACT)


LONG, SHORT, BYTE, SBYTE, RATIONAL = 4, 3, 1, 6, 5
SIZE = {LONG: "I", SHORT: "H", BYTE: "B", SBYTE: "b", RATIONAL: "II"}


def tiff(body: bytes, changes: Mapping[int, tuple[int, Sequence[int]]], order: str = "<") -> bytes:
    """Grey, 16x16, uncompressed, its pixels at 8 but for changes: tag -> type and numbers; none of one that is left out."""
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
    """As many tiles of so many pixels a side, all of them the same bytes."""
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


def twice(data: bytes, tag: int, number: int) -> bytes:
    """With another number for this tag."""
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
    "two words of where its pixels lie": (twice(tiff(GREY, {280: (LONG, [8])}), 280, 273), "two tags 273"),
    "a directory behind the end": (b"II*\0" + struct.pack("<I", 1 << 20), "cut off"),
    "big-endian numbers in a little-endian file": (b"MM*\0" + tiff(GREY, {})[4:], "a kind that is not read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_tiff_that_asks_for_more_than_its_pixels_is_refused(what: str) -> None:
    data, why = REFUSED[what]
    for read in (decode, decode_small):
        with pytest.raises(ImageError, match=why):
            read(data, CONTRACT)


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


def test_several_images_with_exif_each_are_one_photograph() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = io.BytesIO()
    images = [Image.open(io.BytesIO(jpeg())) for _ in range(20)]
    images[0].save(packed, "MPO", save_all=True, append_images=images[1:], exif=exif)
    assert packed.getvalue().count(b"Exif\0\0") > 16
    assert decode(packed.getvalue(), CONTRACT)[1].exif_rotated


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
@pytest.mark.parametrize("big", [False, True])
def test_compressed_tiffs_are_read(compression: str, big: bool) -> None:
    image = Image.open(io.BytesIO(jpeg())).convert("1" if compression == "group4" else "RGB")
    packed = io.BytesIO()
    image.save(packed, "TIFF", compression=compression, big_tiff=big)
    assert (
        np.abs(decode(packed.getvalue(), CONTRACT)[0].astype(int).mean() - np.asarray(image.convert("RGB")).mean()) < 3
    )


def test_directories_that_tell_nothing_of_the_pixels_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_pixels_may_come_in_many_pieces_but_not_in_a_million() -> None:
    assert decode(chunks(b"IDAT", 30_000), CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match="more than 100000 chunks"):
        decode(chunks(b"IDAT", 500_000), CONTRACT)
