"""Images of a few bytes that cost a decoder seconds or much memory, and forms of them."""

import io
from collections.abc import Iterable
from functools import cache

from PIL import Image

from tencrop.images.jpeg_segments import EOI
from tencrop.images.limits import MAX_SCANS

SIDE = 2820  # pixels; just under 8 megapixels, above which images are decoded one at a time
FORM = {"Content-Type": "multipart/form-data; boundary=B"}

# 2816x2816 grey by `cjpeg -arithmetic -progressive`: the first two scans
TWO_SCANS = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e"
    "292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffca000b080b000b0001011100ffcc00040010ffda0008"
    "0101000000004bc6ffcc00041005ffda0008010100013f004bc6000000000001dcdc8013ba82b17800099ac0000235f80002786000000595"
    "a00136bb7f8d6e5ff172b559f870005aa60621425517d4"
)
SECOND_SCAN = 126


@cache
def scans() -> bytes:
    """A JPEG of 4 kB, with 64 scans and just under 8 megapixels, that takes more than a second of a core."""
    return TWO_SCANS + TWO_SCANS[SECOND_SCAN:] * (MAX_SCANS - 2) + EOI


@cache
def animation() -> bytes:
    """A WebP of 140 bytes whose canvas takes 125 MB while it is decoded."""
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in range(2)]
    packed = io.BytesIO()
    frames[0].save(packed, "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    return packed.getvalue()


def form(images: Iterable[bytes]) -> bytes:
    """The body of a form with the headers FORM."""
    head = b'--B\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    return b"".join(head + image + b"\r\n" for image in images) + b"--B--\r\n"
