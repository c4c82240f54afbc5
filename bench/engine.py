"""Measures engines on decoded images: several batch sizes in each precision, beside torch on the same device.

python -m bench.engine [--device auto] [--engine auto] [--streams 1 2] [--checkpoint C] [--sizes 1 4 16 32 64 128]
    [--seconds 0.5]

One process measures all rows in turn. As in the server, images go to the device and probabilities come back. A row of N
streams has N callers. "GFLOP/s" is that of the row's fastest batch size. "of the product" is its part of the machine's
matrix product in the same precision (bench/matrix_product.py), which is measured right before each row; the product's
own rows have the medians. "same bits": whether an image's probabilities have the same bits in batches of every size.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnx
import torch

from bench.engine_row import Predict, Row, measure_speed
from bench.graph_flop import count_gflop
from bench.machine import describe_machine
from bench.matrix_product import measure_product, open_products
from tencrop.common.errors import WorkFailed
from tencrop.export.net_graph import build_net_graph
from tencrop.export.run import export
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import formula_image
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine import engine_signature
from tencrop.runtime.engine_choice import SUPPORTED_PRECISIONS, EngineOptions, device_kind

IMAGES = 16  # different images; larger batches repeat them
TORCH_PRECISIONS = ("fp32", "bf16", "tf32")  # where the device has instructions for them
YES_NO = {True: "yes", False: "no"}


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
    gflop = count_gflop(onnx.load(model / "tencrop.onnx"))
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
                rows[name] = Row(mean_probabilities(classifier), precision, gflop, number)
    return first.device, rows


def mean_probabilities(classifier: Classifier) -> Predict:
    """A function from images to the mean of their ten softmaxes."""
    return lambda images: classifier.forward(images)[0]


def open_torch(checkpoint: Checkpoint, device: str, precisions: Sequence[str]) -> dict[str, Row]:
    """The same net and views in torch, not compiled, in these precisions. It computes each view by itself."""
    views = TenCropNet.from_checkpoint(checkpoint).to(device)
    plain = build_tencrop_graph(build_net_graph(checkpoint), checkpoint.contract, checkpoint.mean, plain=True)
    gflop = count_gflop(plain)

    def row(precision: str) -> Row:
        def predict(images: np.ndarray) -> np.ndarray:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
            with torch.inference_mode(), torch.autocast(device_kind(device), torch.bfloat16, precision == "bf16"):
                return np.asarray(views(torch.from_numpy(images).to(device))[0].float().cpu().numpy())

        return Row(predict, precision, gflop)

    return {f"torch eager, {precision}": row(precision) for precision in precisions}


def measure_row(row: Row, images: np.ndarray, expected: np.ndarray, sizes: Sequence[int], seconds: float) -> Figures:
    """Measure a row. `images` are the different ones, whose probabilities are `expected`, over and over."""
    different = images[: len(expected)]
    alone = np.concatenate([row.predict(image[None]) for image in different])
    same_bits = all(
        np.array_equal(row.predict(images[:size])[: len(alone)], alone[:size]) for size in sizes if size > 1
    )
    speeds = [measure_speed(row, images[:size], seconds) for size in sizes]
    return Figures(speeds, float(np.abs(row.predict(different) - expected).max()), same_bits)


def render_head(sizes: Sequence[int]) -> str:
    """The first two lines of the table, Markdown."""
    batches = (f"batches of {size}" for size in sizes)
    columns = ["", *batches, "GFLOP/s", "of the product", "largest difference", "same bits"]
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def render_row(name: str, figures: Figures, gflop: float, product: float | None) -> str:
    """A row's line. gflop: of an image; product: GFLOP/s in the row's precision, None where none was measured."""
    speeds = [f"{speed:.{0 if speed > 100 else 1}f}" for speed in figures.speeds]
    rate = max(figures.speeds) * gflop
    limits = [f"{rate:.0f}", f"{rate / product:.2f}" if product else ""]
    return f"| {' | '.join([name, *speeds, *limits, f'{figures.difference:.1e}', YES_NO[figures.same_bits]])} |"


def render_product(precision: str, rate: float, sizes: Sequence[int]) -> str:
    """The line of the machine's matrix product in a precision, `rate` in GFLOP/s."""
    name = f"matrix product of this machine, {precision}"
    return f"| {' | '.join([name, *[''] * len(sizes), f'{rate:.0f}', '1.00', '', ''])} |"


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
    expected = open_torch(checkpoint, "cpu", ["fp32"])["torch eager, fp32"].predict(different)
    with TemporaryDirectory() as folder:
        if options.checkpoint:
            export(options.checkpoint, Path(folder), "fp32", 0, None)
        model = Path(folder) if options.checkpoint else EMBEDDED
        device, rows = open_ours(model, options.device, options.engine, options.streams)
    products = open_products(device)
    rows |= open_torch(checkpoint, device, [precision for precision in TORCH_PRECISIONS if precision in products])
    rates: list[dict[str, float]] = []  # GFLOP/s of the products right before each row
    print(f"{describe_machine()}; torch {torch.__version__}\n\n{render_head(options.sizes)}", flush=True)
    for name, row in rows.items():
        rates.append({precision: measure_product(product, options.seconds) for precision, product in products.items()})
        figures = measure_row(row, images, expected, options.sizes, options.seconds)
        print(render_row(name, figures, row.gflop, rates[-1].get(row.precision)), flush=True)
    for precision in products:
        rate = statistics.median(each[precision] for each in rates)
        print(render_product(precision, rate, options.sizes), flush=True)


if __name__ == "__main__":
    main()
