"""model/preprocess.py: what a few bytes may cost. Small files that would be decoded for hours, or take gigabytes, are refused."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from model.contract import Contract
from model.preprocess import MAX_PIECES, MAX_SCANS, ImageError, decode, decode_small

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
    with pytest.raises(ImageError, match=f"{MAX_PIECES} segments"):
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
        with pytest.raises(ImageError, match="in too many pieces"):
            read(HEADERS[header](1_000_000), CONTRACT)


def test_pixels_may_come_in_many_pieces_but_not_in_a_million() -> None:
    assert decode(chunks(b"IDAT", 30_000), CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match="in too many pieces"):
        decode(chunks(b"IDAT", 500_000), CONTRACT)
