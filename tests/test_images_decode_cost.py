"""images/decode_cost.py: the header tells what decoding costs, so that a few bytes cannot pass for a cheap image."""

import io
import struct
import tracemalloc
import zlib
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import CONTRACT, decode_pixels, encode, noise_jpeg, picture
from support.tiff_layouts import GREY, RGB, Layout, make_samples, write
from test_images_jpeg_end import ARITHMETIC
from test_images_limits import with_scans

from tencrop.images import decode_cost
from tencrop.images.decode_cost import CHEAP, DECODINGS_WITHOUT_END, MAX_LOOKS, UNREAD
from tencrop.images.jpeg_segments import read_frame
from tencrop.images.limits import MAX_SCANS
from tencrop.images.tiff_directory import COMPRESSION, HEIGHT, MAX_NUMBERS, STRIP_HEIGHT, STRIPS, TILES, WIDTH
from tencrop.images.tiff_layout import BITS, PHOTOMETRIC
from tencrop.model.contract import DECODING, Contract

SCALED = Contract(decode=DECODING)
estimate_cost = partial(decode_cost.estimate_cost, contract=CONTRACT)

FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
]


def flat(width: int, height: int, format: str, **options: Any) -> bytes:
    return encode(Image.new("RGB", (width, height)), format, **options)


def of_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG with this size in its frame header."""
    at = next(data.index(b"\xff" + kind) for kind in (b"\xc0", b"\xc2", b"\xc9", b"\xca") if b"\xff" + kind in data)
    return data[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + data[at + 9 :]


@pytest.mark.parametrize(("format", "options"), FORMATS)
def test_cost_grows_with_the_pixels(format: str, options: dict[str, Any]) -> None:
    small, large = (estimate_cost(flat(side, side, format, **options)) for side in (200, 800))
    assert 0.02 < small < 1
    assert 10 < large / small < 17


def test_ordinary_photographs_are_cheap() -> None:
    for format, options in FORMATS:
        assert estimate_cost(encode(Image.fromarray(picture(500, 375)), format, **options)) < 2 < CHEAP


def test_a_photograph_of_a_telephone_is_expensive_where_it_is_decoded_in_full() -> None:
    data = flat(4000, 3000, "JPEG")
    assert 1 < estimate_cost(data, contract=SCALED) < 0.6 * CHEAP < CHEAP < estimate_cost(data)


@pytest.mark.parametrize(
    ("size", "least", "most"), [((1023, 8000), 1, 1), ((1400, 6000), 0.4, 0.6), ((7000, 7000), 0.2, 0.3)]
)
def test_the_cost_of_scaled_jpegs_follows_the_contract(size: tuple[int, int], least: float, most: float) -> None:
    data = of_size(noise_jpeg(progressive=False), *size)
    assert least <= estimate_cost(data, contract=SCALED) / estimate_cost(data) <= most


def test_jpegs_that_keep_all_coefficients_cost_as_much_as_in_full() -> None:
    arithmetic = ARITHMETIC.replace(b"\xff\xc9", b"\xff\xca")  # progressive, and all components in the first scan
    for data in (noise_jpeg(), arithmetic):
        large = of_size(data, 4000, 3000)
        assert estimate_cost(large, contract=SCALED) == estimate_cost(large) > CHEAP


def test_a_large_jpeg_without_its_end_is_compared_in_full() -> None:
    """An end marker inside of a comment is none, nor is one in what follows a damaged segment."""
    data = of_size(noise_jpeg(progressive=False), 1800, 1800)
    full, scaled = estimate_cost(data), estimate_cost(data, contract=SCALED)
    assert scaled < full < CHEAP
    for end in (b"", b"\xff\xfe\0\4\xff\xd9", b"\xff\xfe\xff\0\xff\xd9"):
        without = data[:-2] + end
        assert estimate_cost(without, contract=SCALED) == pytest.approx(DECODINGS_WITHOUT_END * full, rel=0.01)
    assert DECODINGS_WITHOUT_END * full > CHEAP


def test_the_film_behind_a_photograph_costs_nothing() -> None:
    data = of_size(noise_jpeg(progressive=False), 4000, 3000)
    assert estimate_cost(data + bytes(20_000_000), contract=SCALED) == estimate_cost(data, contract=SCALED)


def test_each_scan_costs_and_an_arithmetic_one_costs_most() -> None:
    """As bytes: each of the images is smaller than 5 kB, or 30 kB, and has 7.9 megapixels."""
    sequential = of_size(noise_jpeg(progressive=False), 2816, 2816)
    few, many = (
        of_size(data, 2816, 2816) for data in (noise_jpeg(), with_scans(MAX_SCANS - noise_jpeg().count(b"\xff\xda")))
    )
    arithmetic = of_size(with_scans(MAX_SCANS - 1, data=ARITHMETIC), 2816, 2816)
    costs = [estimate_cost(data) for data in (sequential, few, many, arithmetic)]
    assert costs == sorted(costs)
    assert costs[1] - costs[0] > 2
    assert costs[2] - costs[1] == pytest.approx(0.06 * 7.93 * (MAX_SCANS - 10), rel=0.05)
    assert len(arithmetic) < 5000 and costs[3] > 150


def test_bytes_cost_too() -> None:
    """64 scans of noise are 31 MB, which takes 2 s whatever the size of the picture."""
    data = noise_jpeg()
    assert estimate_cost(data[:-2] + bytes(10_000_000) + data[-2:]) - estimate_cost(data) == pytest.approx(45, rel=0.01)


def test_scans_of_thumbnails_and_films_do_not_count() -> None:
    data = noise_jpeg()
    film = b"\xff\xda" * 100
    assert estimate_cost(data + film) - estimate_cost(data) < 0.001


def test_a_jpeg_without_its_end_is_decoded_seven_times() -> None:
    data = noise_jpeg()
    assert estimate_cost(data[:-2]) == pytest.approx(7 * estimate_cost(data), rel=0.01)


def test_an_animation_of_few_bytes_costs_its_canvas() -> None:
    still, moving = (
        encode(
            Image.new("RGB", (2820, 2820)),
            "WEBP",
            lossless=True,
            save_all=many > 0,
            append_images=[Image.new("RGB", (2820, 2820), 1 + i) for i in range(many)],
        )
        for many in (0, 1)
    )
    assert len(moving) < 200
    assert estimate_cost(moving) == pytest.approx(estimate_cost(still), rel=0.01)
    assert estimate_cost(moving) > CHEAP


def test_depth_and_alpha_cost() -> None:
    colour = Image.fromarray(picture(300, 200))
    plain, alpha = (estimate_cost(encode(image, "PNG")) for image in (colour, colour.convert("RGBA")))
    deep = estimate_cost(encode(Image.fromarray(np.zeros((200, 300), np.uint16)), "PNG"))
    assert [alpha, deep] == pytest.approx([2 * plain] * 2, rel=0.01)
    layouts = (Layout(RGB, 8), Layout(GREY, 16), Layout(GREY, 32, 3))
    eight, sixteen, floats = (estimate_cost(write(layout, make_samples(layout))) for layout in layouts)
    assert sixteen == floats > 1.5 * eight


def test_tiffs_with_jpegs_cost_their_scans() -> None:
    def tiff(scans: int) -> bytes:
        out = io.BytesIO()
        Image.new("L", (64, 64)).save(out, "TIFF", compression="jpeg")
        return out.getvalue() + b"\xff\xda" * scans

    assert estimate_cost(tiff(60)) > 3 * estimate_cost(tiff(0))


def run_length_bmp(width: int, height: int, bits: int, runs: bytes) -> bytes:
    """A BMP of run lengths and grey."""
    palette = bytes(value for grey in range(1 << bits) for value in (grey, grey, grey, 0))
    start, compression = 54 + len(palette), 1 if bits == 8 else 2
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(runs), 0, 0, 1 << bits, 0)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs


@pytest.mark.parametrize("bits", [4, 8])
def test_run_lengths_of_a_bmp_cost_their_bytes_and_their_pixels(bits: int) -> None:
    """Pillow undoes them in Python: an image of 900 kB took half a second, and passed for one of 7 ms."""
    short, none = run_length_bmp(300, 300, bits, (b"\1\0" * 300 + bytes(2)) * 300), run_length_bmp(300, 300, bits, b"")
    assert decode_pixels(short).shape == (256, 256, 3)
    assert estimate_cost(short) - estimate_cost(none) == pytest.approx(9.03, rel=0.01)
    assert estimate_cost(run_length_bmp(2500, 2500, bits, b"")) > CHEAP
    endless = run_length_bmp(100, 100, bits, b"\xff\0" * 2_000_000)
    assert estimate_cost(endless) == pytest.approx(50, rel=0.01)


def test_pieces_of_a_png_and_of_a_tiff_cost() -> None:
    png = flat(40, 30, "PNG")
    at = png.index(b"IDAT") - 4
    empty = bytes(4) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    pieces = png[:at] + empty * 50_000 + png[at:]
    assert decode_pixels(pieces).shape == (256, 256, 3)
    assert estimate_cost(pieces) - estimate_cost(png) == pytest.approx(10)
    image = Image.new("L", (60, 6000))
    one, many = (encode(image, "TIFF", tiffinfo={STRIP_HEIGHT: height}) for height in (6000, 1))
    assert decode_pixels(many).shape == (256, 256, 3)
    assert estimate_cost(many) - estimate_cost(one) == pytest.approx(3.6, rel=0.01)


def test_an_image_in_too_many_pieces_to_look_at_passes_for_expensive() -> None:
    """The search for a frame behind eight million segments took 15 s."""
    data = of_size(noise_jpeg(), 2816, 2816)
    behind = data[:2] + b"\xff\xfe\0\2" * 2 * MAX_LOOKS + data[2:]
    assert read_frame(behind) and estimate_cost(behind) == UNREAD > 10 * CHEAP
    film = data[:-2] + (b"\xff\xda\0\2" * 17 + b"\xff\xfe\0\2") * MAX_LOOKS
    assert estimate_cost(film) == UNREAD


def test_a_tag_of_many_numbers_is_not_read() -> None:
    """Ten tags of 300,000 numbers, which may be the same ones, took 40 ms."""
    numbers = b"\7\0" * MAX_NUMBERS  # a TIFF of 7x7 pixels, compression 7
    tags = (WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, TILES)
    entries = b"".join(struct.pack("<HHII", tag, 3, MAX_NUMBERS, 8 + 2 + 12 * len(tags) + 4) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + numbers
    tracemalloc.start()
    try:
        assert estimate_cost(data) > 0
        assert tracemalloc.get_traced_memory()[1] < MAX_NUMBERS
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_any_bytes_have_a_cost(format: str) -> None:
    data = flat(20, 10, format)
    random = np.random.default_rng(3)
    for end in range(len(data)):
        assert estimate_cost(data[:end]) >= 0
        mutated = bytearray(data)
        mutated[end] = random.integers(256)
        assert estimate_cost(bytes(mutated)) >= 0
    assert estimate_cost(b"") == estimate_cost(b"no image") == 0
