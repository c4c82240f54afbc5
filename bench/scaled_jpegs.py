"""Measures what decoding a large JPEG at a part of its size costs in answers, and gains in time.

python -m bench.scaled_jpegs PHOTOS [--count 200] [--shorter 3024] [--model M] [--precision fp32]

The photographs below PHOTOS are enlarged until their shorter side is a telephone's, and encoded as JPEG. One process
decodes each in full and by the rule of new contracts, one after the other.
"""

import argparse
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.machine import describe_machine
from tencrop.export.sample_images import choose_photographs
from tencrop.images.decode import decode
from tencrop.images.jpeg_scale import choose_divisor
from tencrop.model.contract import DECODING, FULL_DECODING, Contract
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

QUALITY = 92  # of the JPEGs, as telephones write them
FORWARD = 4  # images a forward pass
DECODINGS = {"in full": FULL_DECODING, "scaled": replace(DECODING, icc_profile=None)}


class Squares(NamedTuple):
    """The same photographs by both decodings: uint8 [N,R,R,3] each, and the median seconds of one."""

    pixels: dict[str, np.ndarray]
    seconds: dict[str, float]
    shifted: int  # squares that lie half a pixel elsewhere, as the resized longer side has another length


def enlarge(photograph: Path, shorter: int) -> bytes:
    """A JPEG of the photograph whose shorter side has so many pixels."""
    packed = io.BytesIO()
    with Image.open(photograph) as image:
        scale = shorter / min(image.size)
        size = (max(shorter, round(image.width * scale)), max(shorter, round(image.height * scale)))
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(packed, "JPEG", quality=QUALITY)
    return packed.getvalue()


def resized_length(size: Sequence[int], side: int) -> int:
    """The longer side once the shorter one has `side` pixels."""
    return side * max(size) // min(size)


def is_shifted(data: bytes, contract: Contract) -> bool:
    """True where the longer side is resized to another length if the decoder scales the JPEG."""
    with Image.open(io.BytesIO(data)) as image:
        divisor = choose_divisor(*image.size, contract)
        scaled = [-(-side // divisor) for side in image.size]
        return resized_length(image.size, contract.resize) != resized_length(scaled, contract.resize)


def main() -> None:
    """Print differences of pixels and probabilities, changed answers, and both times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--shorter", type=int, default=3024, help="pixels of the enlarged photographs' shorter side")
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    with open_classifier(options.model, EngineOptions("cpu", "auto", options.precision)) as classifier:
        contracts = {name: replace(classifier.contract, decode=decoding) for name, decoding in DECODINGS.items()}
        pixels: dict[str, list[np.ndarray]] = {name: [] for name in DECODINGS}
        seconds: dict[str, list[float]] = {name: [] for name in DECODINGS}
        shifted = 0
        for photograph in choose_photographs(options.photos, options.count):
            data = enlarge(photograph, options.shorter)
            shifted += is_shifted(data, contracts["scaled"])
            for name, contract in contracts.items():
                began = time.perf_counter()
                pixels[name].append(decode(data, contract)[0])
                seconds[name].append(time.perf_counter() - began)
        squares = Squares(
            {name: np.stack(values) for name, values in pixels.items()},
            {name: median(values) for name, values in seconds.items()},
            shifted,
        )
        answers = {
            name: np.concatenate([classifier.forward(s[i : i + FORWARD])[0] for i in range(0, len(s), FORWARD)])
            for name, s in squares.pixels.items()
        }
    print(describe_machine())
    print(render(squares, answers))


def render(squares: Squares, answers: dict[str, np.ndarray]) -> str:
    """The lines to print. answers: probabilities [N,C] by decoding."""
    full, scaled = (squares.pixels[name].astype(np.int16) for name in DECODINGS)
    far = np.abs(full - scaled)
    moved = np.abs(answers["in full"] - answers["scaled"]).max(1)
    changed = int((answers["in full"].argmax(1) != answers["scaled"].argmax(1)).sum())
    times = [f"{name} {1000 * squares.seconds[name]:.1f} ms" for name in DECODINGS]
    return "\n".join(
        [
            f"{len(full)} photographs, decoded {' and '.join(times)}, "
            f"{squares.seconds['in full'] / squares.seconds['scaled']:.2f} x as fast",
            f"pixels of the square: mean difference {far.mean():.3f} of 255, largest {far.max()}; "
            f"{squares.shifted} squares shifted by half a pixel",
            f"probabilities: the largest difference of an image is {np.median(moved):.4f} (median), "
            f"{np.quantile(moved, 0.99):.4f} (99 %), {moved.max():.4f} (largest)",
            f"first answers that changed: {changed}",
        ]
    )


if __name__ == "__main__":
    main()
