"""Measures engines on decoded images: several batch sizes in each precision, beside torch on the same device.

python -m bench.engine [--device auto] [--engine auto] [--streams 1 2] [--checkpoint C] [--sizes 1 4 16 32 64 128]
    [--seconds 0.5]

One process measures all rows in turn. As in the server, images go to the device and probabilities come back. A row of N
streams has N callers. "same bits": whether an image's probabilities have the same bits in batches of every size.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from bench.machine import describe_machine
from tencrop.common.errors import WorkFailed
from tencrop.export.run import export
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine import engine_signature
from tencrop.runtime.engine_choice import SUPPORTED_PRECISIONS, EngineOptions, device_kind

IMAGES = 16  # different images; larger batches repeat them
WARM_UP = 3  # forward passes of each size before the measurement
YES_NO = {True: "yes", False: "no"}

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [N,R,R,3] -> [N,C]


class Row(NamedTuple):
    """A way to compute, and the number of threads that call it at once."""

    predict: Predict
    callers: int = 1


class Figures(NamedTuple):
    """A row's images/s by batch size, and what its answers are like."""

    speeds: Sequence[float]
    difference: float  # the largest of a probability from torch in fp32 on the CPU
    same_bits: bool


def open_ours(model: Path, device: str, engine: str, streams: Sequence[int]) -> tuple[str, dict[str, Row]]:
    """The device, and our engine on it: each precision that works there with each number of streams.

    An engine that has to be made deterministic gets another row for that, with one stream.
    """
    first = open_classifier(model, EngineOptions(device, engine)).engine
    rows = {}
    for precision in SUPPORTED_PRECISIONS[first.name, device_kind(first.device)]:
        for number, deterministic in [*((number, False) for number in streams), (1, True)]:
            options = EngineOptions(first.device, first.name, precision, number, deterministic)
            try:
                classifier = open_classifier(model, options)
            except WorkFailed as failure:  # some CPUs have no bf16, some GPUs no TF32
                print(failure, file=sys.stderr)
                break
            if not deterministic or classifier.engine.forward_images:
                name = engine_signature(classifier.engine).replace(f" on {device_kind(first.device)} in", ",")
                rows[name] = Row(mean_probabilities(classifier), number)
    return first.device, rows


def mean_probabilities(classifier: Classifier) -> Predict:
    """A function from images to the mean of their ten softmaxes."""
    return lambda images: classifier.forward(images)[0]


def open_torch(checkpoint: Checkpoint, device: str) -> dict[str, Row]:
    """The same net and views in torch, not compiled, in each precision."""
    views = TenCropNet.from_checkpoint(checkpoint).to(device)

    def row(tf32: bool, bf16: bool) -> Row:
        def predict(images: np.ndarray) -> np.ndarray:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            with torch.inference_mode(), torch.autocast(device_kind(device), torch.bfloat16, enabled=bf16):
                return np.asarray(views(torch.from_numpy(images).to(device))[0].float().cpu().numpy())

        return Row(predict)

    rows = {"torch eager, fp32": row(False, False), "torch eager, bf16": row(True, True)}
    return rows | ({"torch eager, tf32": row(True, False)} if device_kind(device) == "cuda" else {})


def measure_row(row: Row, images: np.ndarray, expected: np.ndarray, sizes: Sequence[int], seconds: float) -> Figures:
    """Measure a row. `images` are the different ones, whose probabilities are `expected`, over and over."""
    different = images[: len(expected)]
    alone = np.concatenate([row.predict(image[None]) for image in different])
    same_bits = all(
        np.array_equal(row.predict(images[:size])[: len(alone)], alone[:size]) for size in sizes if size > 1
    )
    speeds = [measure_speed(row, images[:size], seconds) for size in sizes]
    return Figures(speeds, float(np.abs(row.predict(different) - expected).max()), same_bits)


def measure_speed(row: Row, images: np.ndarray, seconds: float) -> float:
    """images/s when each forward pass takes all of `images`."""

    def call(until: float) -> int:
        forwards = 0
        while time.perf_counter() < until:
            row.predict(images)
            forwards += 1
        return forwards

    with ThreadPoolExecutor(row.callers) as callers:
        list(callers.map(row.predict, [images] * (WARM_UP * row.callers)))
        started = time.perf_counter()
        forwards = sum(callers.map(call, [started + seconds] * row.callers))
        return forwards * len(images) / (time.perf_counter() - started)


def render_head(sizes: Sequence[int]) -> str:
    """The first two lines of the table, Markdown."""
    columns = ["", *(f"batches of {size}" for size in sizes), "largest difference", "same bits"]
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def render_row(name: str, figures: Figures) -> str:
    """A row's line of the table."""
    speeds = [f"{speed:.{0 if speed > 100 else 1}f}" for speed in figures.speeds]
    return f"| {' | '.join([name, *speeds, f'{figures.difference:.1e}', YES_NO[figures.same_bits]])} |"


def main() -> None:
    """Measure every row, and print its line of the table at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="as for `tencrop serve`")
    parser.add_argument("--engine", default="auto", help="as for `tencrop serve`")
    parser.add_argument("--streams", type=int, nargs="+", default=[1], help="numbers of streams to measure")
    parser.add_argument("--checkpoint", type=Path, help="default: the embedded model's")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 32, 64, 128], help="batch sizes, in images")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each row and batch size")
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.checkpoint or EMBEDDED / "checkpoint")
    side = checkpoint.contract.resize
    different = np.stack([formula_image(seed, side, side) for seed in range(IMAGES)])
    images = np.concatenate([different] * -(-max(options.sizes) // IMAGES))
    expected = open_torch(checkpoint, "cpu")["torch eager, fp32"].predict(different)
    with TemporaryDirectory() as folder:
        if options.checkpoint:
            export(options.checkpoint, Path(folder), "fp32", 0, None)
        model = Path(folder) if options.checkpoint else EMBEDDED
        device, rows = open_ours(model, options.device, options.engine, options.streams)
    rows |= open_torch(checkpoint, device)
    print(f"{describe_machine()}; torch {torch.__version__}\n\n{render_head(options.sizes)}", flush=True)
    for name, row in rows.items():
        figures = measure_row(row, images, expected, options.sizes, options.seconds)
        print(render_row(name, figures), flush=True)


if __name__ == "__main__":
    main()
