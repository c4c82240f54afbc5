"""A data set of cuts of the two photographs under two of the embedded model's classes; compares two runs over it."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

BROKEN = b"\xff\xd8\xff\xe0 no more"  # a JPEG's beginning


def write_crops(
    root: Path, photographs: Mapping[str, Path], images: int, broken: str | None = "pagoda/china07.jpg"
) -> Path:
    """Write so many crops below `root`. `broken` is the path of the one that becomes a damaged file."""
    for label, (name, source) in zip(("pagoda", "sunflower"), photographs.items(), strict=True):
        (root / label).mkdir(parents=True)
        with Image.open(source) as image:
            for number in range(images // 2):
                image.crop((2 * number, number, 400 + 2 * number, 380)).save(
                    root / label / f"{name}{number:02}.jpg", quality=90
                )
    if broken:
        (root / broken).write_bytes(BROKEN)
    return root


def assert_same_validation(run: Path, other: Path) -> None:
    """Compare the results of two validations byte for byte."""
    for name in ("predictions.parquet", "summary.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes()
