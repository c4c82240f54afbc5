"""Decodes a large JPEG at a part of its size, inside its inverse DCT, which takes a quarter of the time.

A photograph of a telephone has twelve megapixels and more, and the contract's square has 65,536.
"""

from PIL import ImageFile

from tencrop.images.jpeg_segments import ARITHMETIC_PROGRESSIVE, FRAMES, PROGRESSIVE, SCAN, read_segments
from tencrop.model.contract import Contract

DIVISORS = (8, 4, 2)  # of both sides, that libjpeg offers


def choose_divisor(width: int, height: int, contract: Contract) -> int:
    """The number by which the decoder divides both sides of a JPEG of this size, rounded up (`Decoding`); 1: none."""
    shorter, least = min(width, height), contract.decode.jpeg_scale_from
    if least is None or shorter < least:
        return 1
    return next((divisor for divisor in DIVISORS if -(-shorter // divisor) >= 2 * contract.resize), 1)


def scale_jpeg(opened: ImageFile.ImageFile, contract: Contract) -> None:
    """Set an opened JPEG to be decoded at the contract's part of its size."""
    divisor = choose_divisor(*opened.size, contract)
    if divisor > 1:  # Pillow takes the largest divisor that leaves this size; a size rounded up is missed by a pixel
        opened.draft(None, (opened.width // divisor, opened.height // divisor))


def has_several_scans(data: bytes) -> bool:
    """True where libjpeg keeps the coefficients of the whole picture in memory, whatever size it decodes.

    It does so where the frame is progressive, or where the first scan lacks a component of the frame.
    """
    components = 0
    for segment in read_segments(data):
        if segment.marker in FRAMES:
            if segment.marker in (PROGRESSIVE, ARITHMETIC_PROGRESSIVE):
                return True
            components = data[segment.start + 5]
        elif segment.marker == SCAN:
            return data[segment.start] < components
    return False
