"""The formats of images that are read, and their first bytes."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
OF_PILLOW = tuple(format for format in FORMATS if format not in ("AVIF", "HEIF"))  # heif_open.py opens the others
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)  # WebP: RIFF....WEBP; AVIF and HEIC: ....ftyp and a brand
BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")


def has_known_signature(data: bytes) -> bool:
    """True where the bytes begin like a file of one of FORMATS."""
    return data.startswith(SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or is_heif(data)


def is_heif(data: bytes) -> bool:
    """True where the bytes begin like a HEIC or an AVIF."""
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS
