"""images/limits.py: refuses small files that would take hours or gigabytes to decode."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from support.pictures import noise_jpeg

from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.images.jpeg_segments import MAX_SEGMENTS, PIECE, count, read_frame, read_segments
from tencrop.images.limits import MAX_SCANS, read_image_file
from tencrop.model.contract import Contract

CONTRACT = Contract()

SOS, EOI = b"\xff\xda", b"\xff\xd9"


def with_scans(more: int, between: bytes = b"", before: bytes = b"", data: bytes | None = None) -> bytes:
    """The last scan's head again and again: the decoder goes over all pixels for each of them."""
    data = data or noise_jpeg()
    end = data.index(EOI + data[:2]) if EOI + data[:2] in data else len(data) - 2  # of the first image
    last = data.rindex(SOS, 0, end)
    head = data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4])]
    return data[:end] + before + (between + head) * more + data[end:]


def test_a_named_pipe_is_read_to_its_end_and_is_empty_without_a_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "a.jpg"
    os.mkfifo(pipe)
    read = Thread(target=lambda: pipe.with_suffix(".read").write_bytes(read_image_file(pipe)), daemon=True)
    read.start()
    read.join(60)
    assert pipe.with_suffix(".read").read_bytes() == b""
    reading, writing = os.pipe()
    os.write(writing, b"written")
    os.close(writing)
    assert read_image_file(Path(f"/dev/fd/{reading}")) == b"written"
    os.close(reading)


def test_a_jpeg_may_repeat_its_scans_up_to_a_limit() -> None:
    scans = noise_jpeg().count(SOS)
    assert 1 < scans < MAX_SCANS
    np.testing.assert_array_equal(decode(with_scans(MAX_SCANS - scans), CONTRACT)[0], decode(noise_jpeg(), CONTRACT)[0])
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        decode(with_scans(MAX_SCANS - scans + 1), CONTRACT)


def test_the_first_of_several_images_is_limited_as_well() -> None:
    packed = io.BytesIO()
    images = [Image.open(io.BytesIO(noise_jpeg())) for _ in range(2)]
    images[0].save(packed, "MPO", save_all=True, append_images=images[1:], progressive=True)
    assert Image.open(io.BytesIO(packed.getvalue())).format == "MPO"
    assert decode(packed.getvalue(), CONTRACT)[1].format == "MPO"
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        decode(with_scans(MAX_SCANS, data=packed.getvalue()), CONTRACT)


def test_scans_cannot_hide_in_a_segment_that_the_decoder_skips() -> None:
    restarting = (
        noise_jpeg()[:2] + b"\xff\xdd\0\4\0\1" + noise_jpeg()[2:]
    )  # so that it goes on behind a marker that is none
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        decode(with_scans(300, before=b"\xff\2\xff\xff", data=restarting), CONTRACT)


def test_the_search_for_scans_behind_many_segments_ends() -> None:
    comments = b"\xff\xfe\0\2" * MAX_SEGMENTS
    with pytest.raises(ImageError, match=f"more than {MAX_SEGMENTS} segments"):
        decode(with_scans(100, between=comments), CONTRACT)
    with pytest.raises(ImageError, match=f"more than {MAX_SEGMENTS} segments"):
        read_frame(b"\xff\xd8" + comments + noise_jpeg()[2:])
    assert read_frame(b"\xff\xd8" + comments[:-40] + noise_jpeg()[2:])


@pytest.mark.parametrize("at", [PIECE - 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE - 1])
def test_a_search_in_pieces_finds_what_lies_across_two(at: int) -> None:
    data = bytearray(4 * PIECE)
    data[at : at + 2] = SOS
    assert [segment.start for segment in read_segments(bytes(data))] == [at + 4]
    assert count(bytes(data), SOS) == count(bytes(data), SOS, at) == 1
    assert count(bytes(data), SOS, at + 1) == 0
    assert count(SOS * PIECE, SOS) == PIECE


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_the_end_of_a_jpeg_does_not_count(progressive: bool) -> None:
    film = (SOS + bytes(40)) * 1000  # any bytes, as of the film that a telephone puts there
    np.testing.assert_array_equal(
        decode(noise_jpeg(progressive) + film, CONTRACT)[0], decode(noise_jpeg(progressive), CONTRACT)[0]
    )


def chunks(kind: bytes, many: int) -> bytes:
    packed = io.BytesIO()
    Image.new("L", (40, 30)).save(packed, "PNG")
    data = packed.getvalue()
    at = data.index(b"IDAT") - 4
    return data[:at] + (struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))) * many + data[at:]


HEADERS: dict[str, Callable[[int], bytes]] = {
    "JPEG of empty segments": lambda many: b"\xff\xd8" + b"\xff\xe9\0\2" * many + noise_jpeg()[2:],
    "JPEG of filling": lambda many: b"\xff\xd8" + b"\xff" * many + noise_jpeg()[2:],
    "PNG of empty chunks": lambda many: chunks(b"prVt", many),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_a_million_pieces_is_refused_before_it_is_read(header: str) -> None:
    assert decode(HEADERS[header](1000), CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match=r"in too many pieces|more than 100000 chunks"):
        decode(HEADERS[header](1_000_000), CONTRACT)


def test_text_and_profiles_of_a_png_do_not_count() -> None:
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


def test_a_jpeg_has_a_limited_number_of_exif_segments() -> None:
    segment = b"\xff\xe1\0\x08Exif\0\0"
    assert decode(b"\xff\xd8" + segment * 16 + noise_jpeg()[2:], CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match="16 segments of EXIF"):
        decode(b"\xff\xd8" + segment * 17 + noise_jpeg()[2:], CONTRACT)


def test_an_mpo_of_many_images_with_exif_is_one_photograph() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = io.BytesIO()
    images = [Image.open(io.BytesIO(noise_jpeg())) for _ in range(20)]
    images[0].save(packed, "MPO", save_all=True, append_images=images[1:], exif=exif)
    assert packed.getvalue().count(b"Exif\0\0") > 16
    assert decode(packed.getvalue(), CONTRACT)[1].exif_rotated


def test_pixels_may_come_in_many_pieces_but_not_in_a_million() -> None:
    assert decode(chunks(b"IDAT", 30_000), CONTRACT)[0].shape == (256, 256, 3)
    with pytest.raises(ImageError, match="more than 100000 chunks"):
        decode(chunks(b"IDAT", 500_000), CONTRACT)
