"""The formats of images that are read, and their first bytes."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)  # WebP: RIFF....WEBP


def has_known_signature(data: bytes) -> bool:
    """True where the bytes begin like a file of one of FORMATS."""
    return data.startswith(SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
