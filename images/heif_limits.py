"""Inspects a HEIC or AVIF before libheif or libavif decodes it: a few bytes can name tiles for hours of decoding."""

import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tencrop.images.errors import ImageError, UnsupportedImage
from tencrop.images.heif_boxes import Container, Item
from tencrop.images.heif_codecs import Coded, measure_av1, measure_hevc

HEVC, AV1, GRID = b"hvc1", b"av01", b"grid"  # kinds of items that are decoded
MAX_PASSES = 16  # over the pixels of a coded image: slices of HEVC, frames of AV1; encoders write one
MAX_TIMES = 8  # pixels that are decoded, alpha and padding included, for each of the image
SMALL = 1 << 22  # pixels that any image may take
REPEATED = 4  # bytes of items and their properties for each of the file; a property may belong to many items
ONCE = (b"ispe", b"hvcC", b"av1C", b"irot", b"imir", b"clap")  # properties that an item has once
STILL = {b"avis": b"avif", b"msf1": b"mif1", b"hevc": b"heic", b"hevx": b"heix"}  # brands of films -> of images


class Heif(NamedTuple):
    """A file that may be decoded: the bytes for the decoder, the kind of its images, pixels and passes over them."""

    data: bytes
    kind: bytes  # HEVC or AV1
    pixels: int


def check_heif(data: bytes) -> Heif:
    """Check a file, and return it without its film and its metadata.

    The orientation in the metadata does not count in HEIF. Raises ImageError where decoding would cost far more than
    the pixels explain, UnsupportedImage for a kind that is not read.
    """
    try:
        container = Container(data)
        size = _read_size(container, container.primary)
        _check_items(container)
        pieces = Counter(_find_pieces(container, container.primary))
        decoded = {container.primary, *pieces}
        for reference in container.references:  # an alpha plane belongs to the image, or to a tile
            if reference.kind == b"auxl" and decoded.intersection(reference.targets):
                pieces.update(_find_pieces(container, reference.source))
        coded = {number: _measure(container, number) for number in pieces}
    except (struct.error, IndexError):
        raise ImageError("damaged image: its header cannot be read") from None
    if sum(coded[number].pixels * times for number, times in pieces.items()) > MAX_TIMES * size[0] * size[1] + SMALL:
        raise ImageError("a HEIC or AVIF whose tiles are far larger than its image")
    kinds = {container.items[number].kind for number in pieces}
    if len(kinds) > 1:
        raise UnsupportedImage("a HEIF file of two codecs is not supported")
    pixels = sum(coded[number].pixels * coded[number].passes * times for number, times in pieces.items())
    return Heif(_strip(container), kinds.pop(), max(pixels, size[0] * size[1]))  # libavif enlarges what is smaller


def _read_size(container: Container, number: int) -> tuple[int, int]:
    """The width and height that the boxes give for an item."""
    box = container.items[number].find(b"ispe")
    if box is None:
        raise ImageError("damaged image: a HEIF file without the size of its image")
    width, height = struct.unpack_from(">II", container.data, box.start + 4)
    return width, height


def _check_items(container: Container) -> None:
    for item in container.items.values():
        for kind in ONCE:
            item.find(kind)
    items = container.items.values()
    size = sum(box.end - box.start for item in items for box in item.properties)
    if size + sum(end - start for item in items for start, end in item.extents) > REPEATED * len(container.data):
        raise ImageError("a HEIF file whose bytes are read again and again")


def _find_pieces(container: Container, number: int) -> Iterator[int]:
    """The coded images of an image: itself, or the tiles of a grid."""
    item = container.items.get(number)
    if item is None or item.kind not in (HEVC, AV1, GRID):
        kind = item.kind.decode("latin1") if item else "none"
        raise UnsupportedImage(f"a HEIF image of this kind is not supported ({kind})")
    if item.kind != GRID:
        yield number
        return
    tiles = [
        each for ref in container.references if (ref.kind, ref.source) == (b"dimg", number) for each in ref.targets
    ]
    rows, columns, width, height = _read_grid(_read_bytes(container, item))
    if len(tiles) != rows * columns or (width, height) != _read_size(container, number):
        raise ImageError("damaged image: a HEIF file whose grid is not that of its tiles")
    if any(tile not in container.items or container.items[tile].kind not in (HEVC, AV1) for tile in tiles):
        raise UnsupportedImage("a HEIF file of this layout is not supported (tiles)")
    yield from tiles


def _read_grid(body: bytes) -> tuple[int, int, int, int]:
    """Rows, columns, width and height of a grid (section 6.6.2.3.2)."""
    _, flags, rows, columns = struct.unpack_from(">BBBB", body)
    width, height = struct.unpack_from(">II" if flags & 1 else ">HH", body, 4)
    return rows + 1, columns + 1, width, height


def _read_bytes(container: Container, item: Item) -> bytes:
    return b"".join(container.data[start:end] for start, end in item.extents)


def _measure(container: Container, number: int) -> Coded:
    """A coded image, at most four times as large as its boxes say."""
    item, (width, height) = container.items[number], _read_size(container, number)
    data = _read_bytes(container, item)
    if item.kind == HEVC:
        config = item.find(b"hvcC")
        if config is None:
            raise ImageError("damaged image: a HEIC without a sequence header")
        coded = measure_hevc(container.data[config.start : config.end], data)
    else:
        coded = measure_av1(data)
    if coded.pixels > 4 * width * height + SMALL or coded.passes > MAX_PASSES:
        raise ImageError("a HEIC or AVIF that is far larger than it says")
    return coded


def _strip(container: Container) -> bytes:
    """The file without its film, and without the references by which decoders find metadata."""
    data = bytearray(container.data)
    for box in container.top:
        if box.kind == b"moov":
            data[box.at + 4 : box.at + 8] = b"free"
        if box.kind == b"ftyp":
            for at in (box.start, *range(box.start + 8, box.end - 3, 4)):
                data[at : at + 4] = STILL.get(bytes(data[at : at + 4]), bytes(data[at : at + 4]))
    for reference in container.references:
        if reference.kind == b"cdsc":
            data[reference.at + 4 : reference.at + 8] = b"free"
    return bytes(data)
