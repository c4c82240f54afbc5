"""Refuses the layouts of TIFF that Pillow reads wrongly or not at all.

Each layout that is answered is compared with another reader in tests/test_images_tiff_layout.py.
"""

from tencrop.images.errors import UnsupportedImage
from tencrop.images.tiff_directory import COLOURS, COMPRESSION, Directory

BITS, PHOTOMETRIC, FILL_ORDER, SAMPLES, PLANAR, PREDICTOR = 258, 262, 266, 277, 284, 317
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 332, 338, 339, 530
INVERTED_GREY, GREY, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8  # photometric interpretations
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats
NONE, OLD_JPEG, JPEG, RAW_16 = 1, 6, 7, 32771
LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 5, 8, 32946, 32773, 34925, 50000
FAX = (2, 3, 4)
PREDICTING = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)  # compressions that a predictor applies to
COMPRESSIONS = (NONE, *FAX, OLD_JPEG, JPEG, PACKBITS, RAW_16, *PREDICTING)
COLOUR_SAMPLES = {INVERTED_GREY: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3}
COREL = 999  # the alpha of Corel Draw 10
NO_EXTRA: frozenset[tuple[int, ...]] = frozenset([()])
ONE_EXTRA = NO_EXTRA | {(0,), (1,), (2,)}  # unspecified, premultiplied alpha, alpha
# (photometric, bits, sample format) -> the extra samples that may follow
READ: dict[tuple[int, int, int], frozenset[tuple[int, ...]]] = {
    **{(grey, bits, UNSIGNED): NO_EXTRA for grey in (INVERTED_GREY, GREY) for bits in (1, 2, 4, 8)},
    (GREY, 8, UNSIGNED): ONE_EXTRA,
    (GREY, 16, UNSIGNED): NO_EXTRA,
    (GREY, 16, SIGNED): NO_EXTRA,
    (GREY, 32, UNSIGNED): NO_EXTRA,
    (GREY, 32, SIGNED): NO_EXTRA,
    (GREY, 32, FLOAT): NO_EXTRA,
    (RGB, 8, UNSIGNED): ONE_EXTRA | {(COREL,)} | {(first, *more) for first in (0, 1, 2) for more in ((0,), (0, 0))},
    (RGB, 16, UNSIGNED): ONE_EXTRA,
    **{(PALETTE, bits, UNSIGNED): NO_EXTRA for bits in (1, 2, 4)},
    (PALETTE, 8, UNSIGNED): NO_EXTRA | {(0,), (2,)},
    (CMYK, 8, UNSIGNED): NO_EXTRA | {(0,), (0, 0)},
    (CMYK, 16, UNSIGNED): NO_EXTRA,
    (YCBCR, 8, UNSIGNED): NO_EXTRA,
    (CIELAB, 8, UNSIGNED): NO_EXTRA,
}
REVERSED = {(GREY, 8), (PALETTE, 8), (RGB, 8), *((grey, bits) for grey in (INVERTED_GREY, GREY) for bits in (1, 2, 4))}


def check_layout(directory: Directory) -> None:
    """Raise UnsupportedImage where Pillow would read the samples wrongly, or cannot read them."""
    layout = _Layout(directory)
    colours = directory.numbers(COLOURS)
    if not layout.is_read() or 0 < max(colours, default=0) < 256:  # a palette of 8-bit numbers
        raise UnsupportedImage(f"a TIFF of this layout is not supported ({layout.describe()})")


class _Layout:
    """Layout of a TIFF's samples, with Pillow's defaults where a tag is missing."""

    def __init__(self, directory: Directory) -> None:
        first = directory.first
        self.compression = first(COMPRESSION, NONE)
        self.photometric = YCBCR if self.compression == OLD_JPEG else first(PHOTOMETRIC, INVERTED_GREY)
        self.samples = first(SAMPLES, 3 if self.compression == OLD_JPEG else 1)
        self.bits = self._same(directory.small_numbers(BITS), 1)
        self.format = self._same(directory.small_numbers(SAMPLE_FORMAT), UNSIGNED)
        self.extra = tuple(directory.small_numbers(EXTRA_SAMPLES))
        self.planar, self.predictor = first(PLANAR, 1), first(PREDICTOR, 1)
        self.fill_order, self.ink_set = first(FILL_ORDER, 1), first(INK_SET, 1)
        self.subsampling = directory.small_numbers(SUBSAMPLING) or [2, 2]
        self.is_big_endian = directory.order == ">"

    def _same(self, numbers: list[int], default: int) -> int:
        """The number that holds for each sample; -1 where they differ."""
        numbers = numbers[: self.samples] or [default]
        return numbers[0] if len(numbers) in (1, self.samples) and len(set(numbers)) == 1 else -1

    def is_read(self) -> bool:
        """True where Pillow reads this layout as it is meant."""
        extras = READ.get((self.photometric, self.bits, self.format), frozenset())
        return (
            self.extra in extras
            and self._has_its_samples()
            and self.compression in COMPRESSIONS
            and self._is_order_read()
            and self._is_planar_read()
            and self._is_fill_order_read()
            and self._is_predictor_read()
            and (self.compression not in FAX or self.bits == 1)
            and (self.photometric != CMYK or self.ink_set == 1)
            and (self.photometric != YCBCR or self.compression != NONE or self.subsampling == [1, 1])
        )

    def _has_its_samples(self) -> bool:
        """Old programs name no extra sample where RGB has a fourth one, which Pillow takes for alpha."""
        usual = COLOUR_SAMPLES[self.photometric] + len(self.extra)
        return self.samples == usual or (self.photometric == RGB and not self.extra and self.samples == usual + 1)

    def _is_order_read(self) -> bool:
        """libtiff gives native numbers, which Pillow then reads as big-endian ones, except 16-bit unsigned."""
        plain = self.bits <= 16 and self.format == UNSIGNED
        if self.is_big_endian and self.bits == 32 and self.format == UNSIGNED:
            return False
        return plain or not self.is_big_endian or self.compression == NONE

    def _is_planar_read(self) -> bool:
        """True where samples in planes of their own are read: Pillow counts planes that are no colour wrongly."""
        if self.planar == 1:
            return True
        if self.planar != 2 or self.photometric in (INVERTED_GREY, GREY, PALETTE, CIELAB):
            return False
        if self.compression == NONE:
            return self.photometric in (RGB, CMYK) and self.bits == 8 and self.extra in ((), (2,))
        return len(self.extra) < 2 or not any(self.extra)

    def _is_fill_order_read(self) -> bool:
        if self.fill_order == 1:
            return True
        return self.fill_order == 2 and self.planar == 1 and not self.extra and self._is_reversed_read()

    def _is_reversed_read(self) -> bool:
        return self.format == UNSIGNED and (self.photometric, self.bits) in REVERSED

    def _is_predictor_read(self) -> bool:
        if self.predictor == 1 or self.compression not in PREDICTING:
            return True
        return self.predictor == 3 if self.format == FLOAT else self.predictor == 2 and self.bits >= 8

    def describe(self) -> str:
        """Name the tags that count, by their numbers."""
        order = "big-endian, " if self.is_big_endian else ""
        bits, kind = (number if number >= 0 else "unequal" for number in (self.bits, self.format))
        return (
            f"{order}photometric interpretation {self.photometric}, {self.samples} samples of {bits} bits, "
            f"sample format {kind}, compression {self.compression}, planar configuration {self.planar}"
        )
