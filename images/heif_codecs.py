"""Reads how large the coded images of a HEIF file are: what its boxes say binds no decoder.

HEVC is ITU-T H.265 (sections 7.3.1 to 7.3.3), AV1 the AV1 Bitstream & Decoding Process Specification (section 5).
"""

from collections.abc import Iterator
from typing import NamedTuple

from tencrop.images.errors import ImageError, UnsupportedImage

MAX_HEADER = 1024  # bytes of a header that are read
MAX_UNITS = 2000  # of a coded image
SPS, PARAMETER_SETS, FIRST_OTHER = 33, (32, 33, 34), 32  # kinds of an HEVC unit; slices have the kinds before
SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # kinds of an AV1 unit


class Coded(NamedTuple):
    """A coded image: its pixels, and how often a decoder may go over them."""

    pixels: int
    passes: int


class Bits:
    """Reads bits. Raises ImageError where they end."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self.left -= count
        if self.left < 0:
            raise ImageError("damaged image: its header ends too early")
        return self.value >> self.left & ((1 << count) - 1)

    def take_golomb(self) -> int:
        """The next unsigned number in Exp-Golomb code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def measure_hevc(config: bytes, data: bytes) -> Coded:
    """A coded image of HEVC: `config` is the body of its hvcC box. Raises ImageError where it has other parameters."""
    units = [*_configured_units(config)]
    sizes = [_sps_pixels(unit) for unit in units if unit[0] >> 1 & 63 == SPS]
    if not sizes:
        raise ImageError("damaged image: a HEIC without a sequence header")
    length, slices, pictures = (config[21] & 3) + 1, 0, 0
    for unit in _units(data, length):
        kind = unit[0] >> 1 & 63
        if kind in PARAMETER_SETS:
            raise UnsupportedImage("a HEIC of this layout is not supported (headers among its pixels)")
        slices += kind < FIRST_OTHER
        pictures += kind < FIRST_OTHER and len(unit) > 2 and unit[2] >> 7
    if pictures > 1:
        raise ImageError("a HEIC with several pictures in one item")
    return Coded(max(sizes), max(slices, 1))


def _configured_units(config: bytes) -> Iterator[bytes]:
    """The units of an hvcC box: arrays, each with a kind and units behind their lengths."""
    if len(config) < 23:
        raise ImageError("damaged image: a HEIC without a sequence header")
    at = 23
    for _ in range(config[22]):
        count, at = int.from_bytes(config[at + 1 : at + 3]), at + 3
        for _ in range(count):
            start = at + 2
            at = start + int.from_bytes(config[at:start])
            if at > len(config) or at <= start + 2:
                raise ImageError("damaged image: its header ends too early")
            yield config[start:at]


def _units(data: bytes, length: int) -> Iterator[bytes]:
    """The beginnings of the units of a coded image, each behind its length."""
    at = 0
    for _ in range(MAX_UNITS):
        if at == len(data):
            return
        start = at + length
        at = start + int.from_bytes(data[at:start])
        if at > len(data) or at < start + 2:
            raise ImageError("damaged image: it cannot be decoded")
        yield data[start : min(at, start + 3)]
    raise ImageError(f"a HEIC of more than {MAX_UNITS} units")


def _sps_pixels(unit: bytes) -> int:
    """The pixels of a sequence parameter set's pictures."""
    bits = Bits(unit[2:MAX_HEADER].replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)  # the profile and the level
    flags = [bits.take(2) for _ in range(8 if layers else 0)][:layers]
    for flag in flags:
        bits.take(88 * (flag >> 1) + 8 * (flag & 1))
    bits.take_golomb()
    if bits.take_golomb() == 3:  # chroma in full size
        bits.take(1)
    return bits.take_golomb() * bits.take_golomb()


def measure_av1(data: bytes) -> Coded:
    """A coded image of AV1. Where a frame may have another size than the sequence, the largest one counts."""
    at, sizes, frames = 0, [], 0
    for _ in range(MAX_UNITS):
        if at == len(data):
            break
        head = data[at]
        at += 2 if head & 4 else 1
        size, at = _read_leb128(data, at) if head & 2 else (len(data) - at, at)
        if at + size > len(data):
            raise ImageError("damaged image: it cannot be decoded")
        kind = head >> 3 & 15
        if kind == SEQUENCE:
            sizes.append(_sequence_pixels(data[at : at + min(size, MAX_HEADER)]))
        frames += kind in (FRAME_HEADER, FRAME)
        at += size
    else:
        raise ImageError(f"an AVIF of more than {MAX_UNITS} units")
    if not sizes:
        raise ImageError("damaged image: an AVIF without a sequence header")
    return Coded(max(sizes), max(frames, 1))


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    number = 0
    for i, byte in enumerate(data[at : at + 8]):
        number |= (byte & 127) << 7 * i
        if byte < 128:
            return number, at + i + 1
    raise ImageError("damaged image: it cannot be decoded")


def _sequence_pixels(unit: bytes) -> int:
    bits = Bits(unit)
    bits.take(4)
    is_still = bits.take(1)  # the short header of a still picture, whose frame has the size of the sequence
    if is_still:
        bits.take(5)
    else:
        if bits.take(1):
            raise UnsupportedImage("an AVIF of this kind is not supported (with timing in its header)")
        has_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if has_delay and bits.take(1):
                bits.take(4)
    of_width, of_height = bits.take(4) + 1, bits.take(4) + 1
    if not is_still:
        return int(1 << of_width + of_height)
    return (bits.take(of_width) + 1) * (bits.take(of_height) + 1)
