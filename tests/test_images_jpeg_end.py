"""images/jpeg_end.py: a JPEG that lacks nothing but its end marker is answered; one that lacks pixels is not."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import CONTRACT, encode, noise_jpeg, picture, square_by_torchvision

from tencrop.images import jpeg_end
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError, TruncatedImage
from tencrop.images.jpeg_segments import EOI, has_every_scan, read_frame

# 32x24 grey by `cjpeg -arithmetic`, and with -progressive
ARITHMETIC = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300140e0f120f0d14121012171514181e32211e1c1c1e3d2c2e243249404c4b47"
    "404645505a736250556d5645466488656d777b8182814e608d978c7d96737e817cffc9000b080018002001011100ffcc000600101005ffda"
    "0008010100003f00ff0063c9e8e9df0dfb8b4774a50e6ed5cca5dd6a007d58adbaa9cbf56ec1b48b127061248b27c8d9039659e7379d7841"
    "e69ef12e777e7bf7e3707c2bc0316e99923a41558dd6845db78223dbfa0c6de5122a36eece34eb8d14a2b219319550d0fc44d66955b99143"
    "40ffd9"
)

PICTURES = {
    "noise": lambda: Image.open(io.BytesIO(noise_jpeg())).crop((0, 0, 40, 24)),  # half of the last blocks is outside
    "smooth": lambda: Image.fromarray(picture(37, 19)),
    "flat": lambda: Image.new("RGB", (48, 32), (200, 100, 50)),
    "grey": lambda: Image.fromarray(picture(40, 24)).convert("L"),
    "cmyk": lambda: Image.fromarray(picture(40, 24)).convert("CMYK"),
}
CODINGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 1},
    "few restart markers": {"restart_marker_blocks": 3, "optimize": True},
    "restart markers, progressive": {"restart_marker_rows": 1, "progressive": True},
    "poor": {"quality": 5, "optimize": True},
    "poor, restart markers": {"quality": 5, "optimize": True, "restart_marker_blocks": 2},
}


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened)


def is_answered(data: bytes) -> bool:
    try:
        decode(data, CONTRACT)
    except ImageError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", PICTURES)
def test_a_jpeg_cut_anywhere_is_answered_where_every_pixel_is_there(name: str, coding: str) -> None:
    data = encode(PICTURES[name](), "JPEG", **CODINGS[coding])
    want = decode(data, CONTRACT)
    for end in (len(data) - 2, len(data) - 1):  # the marker, or its second byte
        got = decode(data[:end], CONTRACT)
        assert got[1] == want[1]
        np.testing.assert_array_equal(got[0], want[0])
    for end in range(data.index(b"\xff\xda"), len(data) - 2):
        if is_answered(data[:end]):
            assert np.array_equal(pixels(data[:end] + EOI), pixels(data)), end


def test_a_photograph_without_its_end_is_the_same_square() -> None:
    image = Image.fromarray(picture(500, 375))
    data = encode(image, "JPEG", quality=90)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(decode(data[:-2], CONTRACT)[0], square_by_torchvision(opened.convert("RGB")))


def test_a_half_jpeg_stays_damaged_also_where_zeros_follow() -> None:
    data = encode(Image.fromarray(picture(500, 375)), "JPEG")
    for cut in (data[: len(data) // 2], data[: len(data) // 2] + bytes(4096), data[: len(data) - 100] + bytes(100)):
        with pytest.raises(TruncatedImage, match="damaged image: it ends too early"):
            decode(cut, CONTRACT)


def test_zeros_behind_a_whole_picture_change_nothing() -> None:
    data = encode(Image.fromarray(picture(90, 60)), "JPEG")
    np.testing.assert_array_equal(decode(data[:-2] + bytes(4096), CONTRACT)[0], decode(data, CONTRACT)[0])


def test_a_progressive_jpeg_that_ends_after_a_scan_lacks_bits_of_its_pixels() -> None:
    data = noise_jpeg(progressive=True)
    frame = read_frame(data)
    assert frame is not None and has_every_scan(data, frame)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 1)
    tables = data.rindex(b"\xff\xc4", 0, second)
    for cut in (tables, second):
        assert not has_every_scan(data[:cut], frame)
        assert not is_answered(data[:cut])


def test_an_arithmetic_jpeg_without_its_end_stays_damaged() -> None:
    """Its decoder goes on with zeros for ever, so nothing shows whether the picture was whole."""
    assert is_answered(ARITHMETIC)
    assert not any(is_answered(ARITHMETIC[:end]) for end in range(100, len(ARITHMETIC)))


def test_a_picture_that_costs_much_is_not_decoded_with_five_endings(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(picture(90, 60)), "JPEG")[:-2]
    assert is_answered(data)
    monkeypatch.setattr(jpeg_end, "MAX_PASSES", 90 * 60 - 1)
    assert not is_answered(data)
