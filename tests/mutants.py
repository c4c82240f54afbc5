"""Damaged images by the thousand against a real server, for the tests and by hand: every answer must be a 200 or a 4xx in one object.

python tests/mutants.py [COUNT] [SEED]
"""

import argparse
import http.client
import io
import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from serving import served

MODES = {  # of Pillow that each format can write
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "I", "I;16", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
}
SIZE = (48, 36)
HEADER = 96  # bytes, in which edits are most likely to reach a field
EXTREMES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
CLIENTS = 4
ANSWERS = {200: "top", 400: "error", 413: "error", 415: "error"}
MIB = 1 << 20


def picture(mode: str) -> Image.Image:
    """A formula-made picture of this mode."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    colours = np.stack([x * 5, y * 7, (x * y) % 256], -1).astype(np.uint8)
    if mode in ("I", "I;16", "F"):
        kind = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        return Image.fromarray((colours[..., 0].astype(np.float64) * 256).astype(kind))
    if mode == "LAB":
        return Image.frombytes("LAB", SIZE, colours.tobytes())
    return Image.fromarray(colours).convert(mode)


def originals() -> list[bytes]:
    """Every format in every mode; TIFF and JPEG in more than one coding."""
    found = [packed(picture(mode), kind) for kind, modes in MODES.items() for mode in modes]
    found += [packed(picture("RGB"), "JPEG", progressive=True), packed(picture("RGB"), "WEBP", lossless=True)]
    found += [
        packed(picture("RGB"), "TIFF", compression=coding)
        for coding in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
    ]
    found.append(packed(picture("RGB"), "GIF", save_all=True, append_images=[picture("L").convert("RGB")]))
    exif = Image.Exif()
    exif[0x0112] = 6
    found.append(packed(picture("RGB"), "JPEG", exif=exif.tobytes()))
    return found


def packed(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Cut, flipped, edited in the header, repeated, blanked, or spliced with another; up to four times."""
    random, whole = np.random.default_rng(seed), originals()
    for number in range(count):
        data = bytearray(whole[number % len(whole)])
        for _ in range(int(random.integers(1, 5))):
            data = _mutated(data, whole, random)
        yield bytes(data)


def _mutated(data: bytearray, whole: list[bytes], random: np.random.Generator) -> bytearray:
    if not data:
        return data
    at = int(random.integers(len(data)))
    length = int(random.integers(1, 64))
    match int(random.integers(6)):
        case 0:
            return data[:at]
        case 1:
            data[at] ^= 1 << int(random.integers(8))
        case 2:
            place = int(random.integers(min(HEADER, len(data))))
            data[place] = int(random.choice(EXTREMES)) if random.random() < 0.5 else int(random.integers(256))
        case 3:
            return data[: at + length] + data[at:]
        case 4:
            data[at : at + length] = bytes(len(data[at : at + length]))
        case 5:
            return data[:at] + whole[int(random.integers(len(whole)))][at:]
    return data


def sent(where: str, images: Iterator[bytes]) -> Counter[int]:
    """POST them from a few clients at once -> how often each status came. Raises AssertionError for an answer that must not be."""
    lock, statuses = threading.Lock(), Counter[int]()

    def client() -> None:
        with closing(http.client.HTTPConnection(where, timeout=60)) as connection:
            while True:
                with lock:
                    data = next(images, None)
                if data is None:
                    return
                connection.request("POST", "/v1/predict", data)
                reply = connection.getresponse()
                answer = json.loads(reply.read())
                assert ANSWERS.get(reply.status) in answer, f"{reply.status} {answer} for {data.hex()}"
                with lock:
                    statuses[reply.status] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()
    return statuses


def resident(process: "subprocess.Popen[str]") -> int:
    """Bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def main() -> None:
    """Tell the statuses, and how the server's memory grew from a tenth of the images to all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=50_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args()
    tenth = options.count // 10
    with served() as (process, url):
        where, images = url.removeprefix("http://"), mutants(options.count, options.seed)
        statuses, grown = Counter[int](), []
        for part in range(1, 11):
            statuses += sent(where, islice(images, tenth))
            grown.append(resident(process))
            print(
                f"{part * tenth:,} images: {dict(sorted(statuses.items()))}, {grown[-1] / MIB:.0f} MiB resident",
                flush=True,
            )
        print(f"memory: {(grown[-1] - grown[0]) / MIB:+.0f} MiB from {tenth:,} images to {10 * tenth:,}")


if __name__ == "__main__":
    main()
