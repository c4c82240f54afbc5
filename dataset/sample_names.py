"""Splits the names of files in a WebDataset tar: dir/img_0.5.seg.png is the field seg.png of the sample dir/img_0.5."""

from collections.abc import Collection

from tencrop.images.file_name import SUFFIXES

LABELS = ("cls", "label.cls", "cls.txt", "label.txt", "label", "json", "label.json", "cls.json", "txt")
IMAGES = frozenset(suffix.removeprefix(".") for suffix in SUFFIXES)
IMAGE_WORDS = IMAGES | {"image", "img"}  # may stand before the suffix of an image, or of its label: photo.jpg.cls
WORDS = IMAGE_WORDS | {"cls", "label", "seg", "mask"}  # may stand before any suffix


def split_name(path: str) -> tuple[str, str]:
    """Return the key of a file's sample, and its field in small letters, "" for a name without a dot.

    A key has dots of its own where the words behind them are no WORDS. The webdataset library ends it at its first dot,
    and so gives img_0.5.jpg and img_0.7.jpg one key.
    """
    folder, slash, base = path.rpartition("/")
    words = base.split(".")
    end = max(1, len(words) - 1)
    while end > 1 and words[end - 1].lower() in WORDS:
        end -= 1
    return folder + slash + ".".join(words[:end]), ".".join(words[end:]).lower()


def find_images(fields: Collection[str]) -> list[str]:
    """Find the fields of a sample that are images, the plainest first; seg.png and mask.png are none."""
    return sorted((field for field in fields if _strip(field) in IMAGES), key=lambda field: field.count("."))


def find_labels(fields: Collection[str]) -> list[str]:
    """Find the fields of a sample that may hold its label, in the order of LABELS."""
    ranks = {field: LABELS.index(_strip(field)) for field in fields if _strip(field) in LABELS}
    return sorted(ranks, key=lambda field: ranks[field])


def _strip(field: str) -> str:
    """The field without the words of an image before its end."""
    words = field.split(".")
    while len(words) > 1 and words[0] in IMAGE_WORDS:
        del words[0]
    return ".".join(words)
