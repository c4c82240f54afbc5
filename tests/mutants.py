"""Posts damaged images by the thousand to a real server. Every answer must be a 200, or a 4xx with one error object.

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
from serving import run_server

MODES = {  # the modes of Pillow that each format can write
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "I", "I;16", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
}
SIZE = (48, 36)
HEADER = 96  # bytes; edits here are most likely to change a field
EXTREMES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
CLIENTS = 4
ANSWERS = {200: "top", 400: "error", 413: "error", 415: "error"}
MIB = 1 << 20


def draw(mode: str) -> Image.Image:
    """Draw a picture by a formula, in this mode."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    colours = np.stack([x * 5, y * 7, (x * y) % 256], -1).astype(np.uint8)
    if mode in ("I", "I;16", "F"):
        kind = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        return Image.fromarray((colours[..., 0].astype(np.float64) * 256).astype(kind))
    if mode == "LAB":
        return Image.frombytes("LAB", SIZE, colours.tobytes())
    return Image.fromarray(colours).convert(mode)


def originals() -> list[bytes]:
    """Sound images: every format in every mode, TIFF and JPEG in several codings."""
    found = [encode(draw(mode), kind) for kind, modes in MODES.items() for mode in modes]
    found += [encode(draw("RGB"), "JPEG", progressive=True), encode(draw("RGB"), "WEBP", lossless=True)]
    found += [
        encode(draw("RGB"), "TIFF", compression=coding) for coding in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
    ]
    found.append(encode(draw("RGB"), "GIF", save_all=True, append_images=[draw("L").convert("RGB")]))
    exif = Image.Exif()
    exif[0x0112] = 6
    found.append(encode(draw("RGB"), "JPEG", exif=exif.tobytes()))
    return found


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Damage `count` images, each one to four times: cut, flip, edit the header, repeat, blank, or splice."""
    random, sound = np.random.default_rng(seed), originals()
    for number in range(count):
        data = bytearray(sound[number % len(sound)])
        for _ in range(int(random.integers(1, 5))):
            data = _mutate(data, sound, random)
        yield bytes(data)


def _mutate(data: bytearray, sound: list[bytes], random: np.random.Generator) -> bytearray:
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
            return data[:at] + sound[int(random.integers(len(sound)))][at:]
    return data


def post_all(where: str, images: Iterator[bytes]) -> Counter[int]:
    """POST the images from several clients at once; count the statuses. Raises AssertionError for a bad answer."""
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


def resident_bytes(process: "subprocess.Popen[str]") -> int:
    """The resident memory of a process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def main() -> None:
    """Print the statuses, and the growth of the server's memory from a tenth of the images to all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=50_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args()
    tenth = options.count // 10
    with run_server() as (process, url):
        where, images = url.removeprefix("http://"), mutants(options.count, options.seed)
        statuses, grown = Counter[int](), []
        for part in range(1, 11):
            statuses += post_all(where, islice(images, tenth))
            grown.append(resident_bytes(process))
            print(
                f"{part * tenth:,} images: {dict(sorted(statuses.items()))}, {grown[-1] / MIB:.0f} MiB resident",
                flush=True,
            )
        print(f"memory: {(grown[-1] - grown[0]) / MIB:+.0f} MiB from {tenth:,} images to {10 * tenth:,}")


if __name__ == "__main__":
    main()
