"""Measures engines on decoded images: several batch sizes in each precision, beside torch on the same device.

python -m bench.engine [--device auto] [--checkpoint C] [--sizes 1 4 16 32 64 128] [--seconds 0.5]

One process measures all rows in turn. As in the server, images go to the device and probabilities come back.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

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
from tencrop.runtime.engine_choice import SUPPORTED_PRECISIONS, EngineOptions, device_kind

IMAGES = 16  # different images; larger batches repeat them
WARM_UP = 3  # forward passes of each size before the measurement

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [N,R,R,3] -> [N,C]


def open_ours(model: Path, device: str) -> tuple[str, dict[str, Predict]]:
    """The device, and our engine on it in each precision that works there."""
    first = open_classifier(model, EngineOptions(device)).engine
    rows = {}
    for precision in SUPPORTED_PRECISIONS[first.name, device_kind(first.device)]:
        try:
            rows[f"{first.name}, {precision}"] = mean_probabilities(
                open_classifier(model, EngineOptions(first.device, first.name, precision))
            )
        except WorkFailed as failure:  # some CPUs have no bf16, some GPUs no TF32
            print(failure, file=sys.stderr)
    return first.device, rows


def mean_probabilities(classifier: Classifier) -> Predict:
    """A function from images to the mean of their ten softmaxes."""
    return lambda images: classifier.forward(images)[0]


def open_torch(checkpoint: Checkpoint, device: str) -> dict[str, Predict]:
    """The same net and views in torch, not compiled, in each precision."""
    views = TenCropNet.from_checkpoint(checkpoint).to(device)

    def row(tf32: bool, bf16: bool) -> Predict:
        def predict(images: np.ndarray) -> np.ndarray:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            with torch.inference_mode(), torch.autocast(device_kind(device), torch.bfloat16, enabled=bf16):
                return np.asarray(views(torch.from_numpy(images).to(device))[0].float().cpu().numpy())

        return predict

    rows = {"torch eager, fp32": row(False, False), "torch eager, bf16": row(True, True)}
    return rows | ({"torch eager, tf32": row(True, False)} if device_kind(device) == "cuda" else {})


def measure_speed(predict: Predict, images: np.ndarray, seconds: float) -> float:
    """images/s when each forward pass takes all of `images`."""
    for _ in range(WARM_UP):
        predict(images)
    started, forwards = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds:
        predict(images)
        forwards += 1
    return forwards * len(images) / took


def render_table(speeds: Mapping[str, Sequence[float]], differences: Mapping[str, float], sizes: Sequence[int]) -> str:
    """Markdown: images/s by batch size, and the largest difference of a probability from torch in fp32 on the CPU."""
    lines = [
        f"| | {' | '.join(f'batches of {size}' for size in sizes)} | largest difference |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    return "\n".join(
        lines
        + [
            f"| {name} | {' | '.join(f'{value:.0f}' for value in row)} | {differences[name]:.1e} |"
            for name, row in speeds.items()
        ]
    )


def main() -> None:
    """Measure every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="as for `tencrop serve`")
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED / "checkpoint", help="default: the embedded one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 32, 64, 128], help="batch sizes, in images")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each row and batch size")
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.checkpoint)
    side = checkpoint.contract.resize
    different = np.stack([formula_image(seed, side, side) for seed in range(IMAGES)])
    images = np.concatenate([different] * -(-max(options.sizes) // IMAGES))
    expected = open_torch(checkpoint, "cpu")["torch eager, fp32"](different)
    with TemporaryDirectory() as folder:
        export(options.checkpoint, Path(folder), "fp32", 0, None)
        device, rows = open_ours(Path(folder), options.device)
    rows |= open_torch(checkpoint, device)
    speeds = {
        name: [measure_speed(row, images[:size], options.seconds) for size in options.sizes]
        for name, row in rows.items()
    }
    differences = {name: float(np.abs(row(different) - expected).max()) for name, row in rows.items()}
    print(f"{describe_machine()}; torch {torch.__version__}\n\n{render_table(speeds, differences, options.sizes)}")


if __name__ == "__main__":
    main()
