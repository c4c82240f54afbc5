"""images/heif_*.py: HEIC and AVIF are decoded as they are meant, and a few bytes cannot ask for hours or gigabytes."""

import importlib.util
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image
from support.pictures import CONTRACT, ORIENTATION, decode_pixels, encode, square_by_torchvision

from tencrop.images import heif_limits, heif_open
from tencrop.images.decode import decode
from tencrop.images.decode_cost import CHEAP, UNREAD, estimate_cost
from tencrop.images.errors import ImageError, ImageTooLarge, TruncatedImage, UnsupportedImage
from tencrop.images.heif_boxes import MAX_BOXES, MAX_ENTRIES, Container, read_boxes
from tencrop.images.heif_codecs import measure_av1, measure_hevc
from tencrop.images.heif_limits import AV1, HEVC, check_heif

WIDTH, HEIGHT = 160, 120
KINDS = {"HEIF": HEVC, "AVIF": AV1}


def quarters() -> Image.Image:
    """A red, blue, green and white quarter, which every codec keeps."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2] = (255, 0, 0)
    pixels[: HEIGHT // 2, WIDTH // 2 :] = (0, 0, 255)
    pixels[HEIGHT // 2 :, : WIDTH // 2] = (0, 255, 0)
    return Image.fromarray(pixels)


def grid() -> bytes:
    """A HEIC of six tiles of 64x64, as telephones write them."""
    return encode(quarters(), "HEIF", tile_size=64)


FILES: dict[str, Callable[[], bytes]] = {
    "HEIC": lambda: encode(quarters(), "HEIF"),
    "HEIC of tiles": grid,
    "AVIF": lambda: encode(quarters(), "AVIF"),
}


def change(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    """Replace bytes that are there."""
    assert old in data and len(old) == len(new)
    return data.replace(old, new, count)


@pytest.mark.parametrize("kind", FILES)
def test_the_pixels_are_those_of_the_picture(kind: str) -> None:
    square, info = decode(FILES[kind](), CONTRACT)
    assert np.abs(square.astype(int) - square_by_torchvision(quarters())).mean() < 2
    assert info[:4] == ("AVIF" if kind == "AVIF" else "HEIF", "RGB", WIDTH, HEIGHT)


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_once(format: str, orientation: int) -> None:
    """Encoders write it as irot and imir, and leave it in EXIF, where it does not count."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    packed = exif.tobytes()
    square, info = decode(encode(quarters(), format, exif=packed), CONTRACT)
    expected, turned = decode(encode(quarters(), "PNG", exif=packed), CONTRACT)
    assert np.abs(square.astype(int) - expected).mean() < 2
    assert info[2:4] == turned[2:4]


def test_an_orientation_in_exif_alone_does_not_count() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    untold = change(encode(quarters(), "HEIF", exif=exif.tobytes()), b"irot", b"free")
    assert np.abs(decode_pixels(untold).astype(int) - square_by_torchvision(quarters())).mean() < 2


@pytest.mark.parametrize("format", KINDS)
def test_the_first_image_counts_and_transparency_is_white(format: str) -> None:
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    several = decode_pixels(encode(red, format, save_all=True, append_images=[blue] * 3))
    assert np.abs(several.astype(int) - (255, 0, 0)).max() < 4
    clear = decode_pixels(encode(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), format))
    assert clear.min() > 250


def test_an_alpha_plane_of_a_tile_counts() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a telephone"
    data = encode(quarters(), "HEIF", tile_size=64, exif=exif.tobytes())
    references = {reference.kind: reference for reference in Container(data).references}
    described, (first, second, *_) = references[b"cdsc"], references[b"dimg"].targets
    old = struct.pack(">4sHHH", b"cdsc", described.source, 1, *described.targets)
    alpha = change(data, old, struct.pack(">4sHHH", b"auxl", first, 1, second))
    assert check_heif(alpha).pixels == check_heif(data).pixels + 64 * 64


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_what_the_codec_says_is_measured(format: str, mode: str) -> None:
    checked = check_heif(encode(Image.new(mode, (WIDTH, HEIGHT)), format))
    assert checked.kind == KINDS[format]
    planes = 2 if mode == "RGBA" else 1
    assert planes * WIDTH * HEIGHT <= checked.pixels < 1.2 * planes * WIDTH * HEIGHT


def test_a_photograph_of_a_telephone_is_expensive_and_a_small_one_is_not() -> None:
    data = grid()
    assert 0 < estimate_cost(data, CONTRACT) < 1
    assert check_heif(data).pixels == 6 * 64 * 64
    assert estimate_cost(encode(Image.new("RGB", (1600, 1000)), "AVIF", speed=10), CONTRACT) > CHEAP


@pytest.mark.parametrize("kind", FILES)
def test_a_size_beyond_the_limit_is_refused_before_any_pixel(kind: str) -> None:
    data = change(FILES[kind](), struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 9000, 6000))
    with pytest.raises(ImageError) as caught:
        decode(data, CONTRACT)
    assert kind == "HEIC of tiles" or isinstance(caught.value, ImageTooLarge)


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_a_codec_that_is_larger_than_the_boxes_say_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif_limits, "SMALL", 1000)
    data = change(FILES[kind](), struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 64, 64))
    with pytest.raises(ImageError, match="far larger than it says"):
        decode(data, CONTRACT)
    assert estimate_cost(data, CONTRACT) == UNREAD


def test_an_avif_that_the_boxes_enlarge_costs_what_it_becomes() -> None:
    """libavif resizes what it has decoded: a kilobyte becomes 49 megapixels."""
    data = encode(Image.new("RGB", (64, 48)), "AVIF")
    large = change(data, struct.pack(">II", 64, 48), struct.pack(">II", 7000, 7000))
    assert estimate_cost(data, CONTRACT) < 1 and estimate_cost(large, CONTRACT) > CHEAP


def test_a_grid_that_repeats_one_tile_or_names_another_size_is_refused() -> None:
    data = grid()
    boxes = Container(data)
    at = boxes.items[boxes.primary].extents[0][0]
    larger = data[: at + 2] + bytes([255, 255]) + data[at + 4 :]
    wider = data[: at + 4] + struct.pack(">HH", 60_000, 60_000) + data[at + 8 :]
    for bad in (larger, wider):
        with pytest.raises(ImageError, match="grid is not that of its tiles"):
            decode(bad, CONTRACT)


def test_tiles_far_beyond_the_image_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif_limits, "SMALL", 1000)
    data = change(grid(), struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 32, 32))
    data = change(data, struct.pack(">HH", WIDTH, HEIGHT), struct.pack(">HH", 32, 32))
    with pytest.raises(ImageError, match="tiles are far larger"):
        decode(data, CONTRACT)


def test_parameters_among_the_pixels_and_several_pictures_are_refused() -> None:
    data = encode(quarters(), "HEIF")
    boxes = Container(data)
    item = boxes.items[boxes.primary]
    config = item.find(b"hvcC")
    assert config
    body, coded = data[config.start : config.end], b"".join(data[start:end] for start, end in item.extents)
    assert measure_hevc(body, coded).passes == 1
    with pytest.raises(ImageError, match="several pictures"):
        measure_hevc(body, 2 * coded)
    with pytest.raises(UnsupportedImage, match="headers among its pixels"):
        measure_hevc(body, struct.pack(">I", 3) + bytes([33 << 1, 1, 0]) + coded)


def test_frames_of_an_avif_and_a_header_whose_frames_may_be_larger_are_counted() -> None:
    data = encode(quarters(), "AVIF")
    boxes = Container(data)
    (start, end), *_ = boxes.items[boxes.primary].extents
    assert measure_av1(data[start:end]) == (WIDTH * HEIGHT, 1)
    assert measure_av1(data[start:end] * 3) == (WIDTH * HEIGHT, 3)
    film = encode(quarters(), "AVIF", save_all=True, append_images=[quarters().rotate(180)])
    assert check_heif(film).pixels == 256 * 128


def test_turns_are_not_repeated() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 5
    data = encode(quarters(), "HEIF", exif=exif.tobytes())
    turned = bytearray(change(data, b"imir", b"irot"))
    with pytest.raises(ImageError, match="2 properties irot"):
        decode(bytes(turned), CONTRACT)


def test_many_boxes_are_not_read() -> None:
    with pytest.raises(ImageError, match=f"more than {MAX_BOXES} boxes"):
        read_boxes(struct.pack(">I4s", 8, b"free") * (MAX_BOXES + 1), 0, 8 * (MAX_BOXES + 1))
    data = FILES["AVIF"]()
    assert estimate_cost(data[:32] + struct.pack(">I4s", 8, b"free") * 1_000_000, CONTRACT) == UNREAD


def make_file(locations: bytes, references: bytes) -> bytes:
    """A file with these bodies of iloc and iref, whose items are 1 and 2."""

    def box(kind: bytes, *bodies: bytes) -> bytes:
        body = b"".join(bodies)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    entries = [box(b"infe", struct.pack(">IHH4s", 2 << 24, number, 0, AV1)) for number in (1, 2)]
    size = box(b"ispe", struct.pack(">III", 0, 64, 64))
    associations = struct.pack(">IIHBBHBB", 0, 2, 1, 1, 1, 2, 1, 1)
    tables = [
        box(b"pitm", struct.pack(">IH", 0, 1)),
        box(b"iinf", struct.pack(">IH", 0, 2), *entries),
        box(b"iprp", box(b"ipco", size), box(b"ipma", associations)),
        box(b"iloc", struct.pack(">I", 0), locations),
        box(b"iref", struct.pack(">I", 0), references),
    ]
    return box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), *tables) + box(b"mdat", bytes(4000))


def test_tables_of_many_entries_are_not_read() -> None:
    """Thousands of references, or of extents, in each of thousands of entries would take a minute."""
    references = struct.pack(">I4sHH", 12 + 10_000, b"dimg", 1, 5000) + bytes(10_000)
    with pytest.raises(ImageError, match=f"more than {MAX_ENTRIES} entries"):
        check_heif(make_file(struct.pack(">HH", 0x4400, 0), references * 5))
    extents = struct.pack(">HHHH", 0x1100, 2, 1, 0) + struct.pack(">H", 20_000) + bytes([1, 1]) * 20_000
    with pytest.raises(ImageError, match=f"more than {MAX_ENTRIES} entries"):
        check_heif(make_file(extents, b""))


def test_bytes_that_lie_in_many_items_are_not_read() -> None:
    extents = struct.pack(">HHHHH", 0x1100, 1, 1, 0, 10_000) + bytes([1, 255]) * 10_000
    with pytest.raises(ImageError, match="again and again"):
        check_heif(make_file(extents, b""))


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_metadata_and_films_are_not_handed_on(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a telephone"
    data = encode(quarters(), "HEIF" if kind == "HEIC" else "AVIF", exif=exif.tobytes())
    assert b"cdsc" in data and b"cdsc" not in check_heif(data).data
    film = encode(quarters(), "AVIF", save_all=True, append_images=[quarters()])
    assert b"moov" in film and not any(word in check_heif(film).data for word in (b"moov", b"avis"))


def test_a_file_without_a_still_image_is_unsupported() -> None:
    with pytest.raises(UnsupportedImage, match="without a still image"):
        decode(change(FILES["AVIF"](), b"meta", b"free", 1), CONTRACT)


def test_what_is_missing_to_read_a_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data, find = grid(), importlib.util.find_spec
    monkeypatch.setattr(heif_open, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    with pytest.raises(
        UnsupportedImage, match=r"a HEIC is read by pillow-heif, which is not installed: pip install .*heif"
    ):
        decode(data, CONTRACT)
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(UnsupportedImage, match="built without libavif"):
        decode(FILES["AVIF"](), CONTRACT)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_ends_early_is_damaged(kind: str) -> None:
    data = FILES[kind]()
    for end in range(12, len(data), 40):
        with pytest.raises(ImageError) as caught:
            decode(data[:end], CONTRACT)
        assert caught.value.code == "damaged_image"
    with pytest.raises(TruncatedImage):
        decode(data[:-1], CONTRACT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_hundreds_of_damaged_files_raise_nothing_but_image_error(kind: str) -> None:
    data, random = FILES[kind](), np.random.default_rng(len(kind))
    answered, messages = 0, set()
    for number in range(800):
        mutated = bytearray(data)
        reach = min(len(data), 1000) if number % 2 else len(data)  # half of the mutations hit the boxes
        for position in random.integers(0, reach, random.integers(1, 9)):
            mutated[position] = random.integers(0, 256)
        assert estimate_cost(bytes(mutated), CONTRACT) >= 0
        try:
            decode(bytes(mutated), CONTRACT)
            answered += 1
        except ImageError as error:
            messages.add(str(error))
    assert 40 < answered < 760
    assert max(map(len, messages)) < 300
