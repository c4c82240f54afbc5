"""Which files are images, by their names."""

SUFFIXES = frozenset(  # of the formats in images/formats.py
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        *(".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif"),
    )
)


def is_image(name: str) -> bool:
    """Return whether a path names an image that is not hidden."""
    base = name.rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    return bool(stem) and not base.startswith(".") and (dot + suffix).lower() in SUFFIXES
