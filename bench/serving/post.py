"""Posts: photographs as whole HTTP requests, the bytes that go over the wire."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tencrop.common.errors import BadInput
from tencrop.dataset.source import is_image

Post = Callable[[str, bytes], bytes]


def plain_photographs(folder: Path) -> tuple[list[Path], int]:
    """The JPEGs in RGB, which every server takes, and how many images are none of these. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; name one with photographs")
    images = sorted(path for path in folder.rglob("*") if is_image(path.name))
    plain = [path for path in images if _is_plain(path)]
    if not plain:
        raise BadInput(f"{folder}: no JPEG in RGB in it or below it; name a folder with photographs")
    return plain, len(images) - len(plain)


def _is_plain(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return (image.format, image.mode) == ("JPEG", "RGB")
    except OSError:
        return False


def raw(path: str, photograph: bytes) -> bytes:
    """The file as the body."""
    return _post(path, photograph, "Content-Type: image/jpeg")


def inference(path: str, photograph: bytes) -> bytes:
    """The Open Inference Protocol with its binary extension: one BYTES element, which has its length before it; answered in JSON."""
    element = len(photograph).to_bytes(4, "little") + photograph
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(element)}}
    head = json.dumps(
        {"inputs": [image], "outputs": [{"name": "index", "parameters": {"binary_data": False}}]}
    ).encode()
    return _post(
        path, head + element, "Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}"
    )


def _post(path: str, body: bytes, *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *fields, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body
