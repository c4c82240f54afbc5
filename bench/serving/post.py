"""Builds the whole HTTP request of a photograph, as bytes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from tencrop.common.errors import BadInput
from tencrop.images.file_name import is_image

Post = Callable[[str, bytes], bytes]  # path, encoded photograph -> request


def find_rgb_jpegs(folder: Path) -> tuple[list[Path], int]:
    """The RGB JPEGs of a folder, which every server accepts, and the number of other images. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder", "name a folder with photographs")
    images = sorted(path for path in folder.rglob("*") if is_image(path.name))
    jpegs = [path for path in images if _is_rgb_jpeg(path)]
    if not jpegs:
        raise BadInput(f"{folder}: no RGB JPEG in or below this folder", "name a folder with photographs")
    return jpegs, len(images) - len(jpegs)


def _is_rgb_jpeg(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return (image.format, image.mode) == ("JPEG", "RGB")
    except OSError:
        return False


def raw_request(path: str, photograph: bytes) -> bytes:
    """Build a POST whose body is the file."""
    return _build(path, photograph, "Content-Type: image/jpeg")


def write_requests(images: Sequence[bytes], folder: Path) -> list[Path]:
    """Write the whole request of each image to a file of a new folder."""
    folder.mkdir()
    files = [folder / str(number) for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(raw_request("/v1/predict", image))
    return files


def inference_request(path: str, photograph: bytes) -> bytes:
    """Open Inference Protocol, binary extension: one BYTES element after its length; the answer is JSON."""
    element = len(photograph).to_bytes(4, "little") + photograph
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(element)}}
    head = json.dumps(
        {"inputs": [image], "outputs": [{"name": "index", "parameters": {"binary_data": False}}]}
    ).encode()
    return _build(
        path, head + element, "Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}"
    )


def _build(path: str, body: bytes, *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *fields, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body
