"""Compares the forms in which `tencrop export` writes one net: bytes, GFLOP, parity, errors, and speed on each engine.

python -m bench.export_comparison --data DATA [--checkpoint FOLDER] [--holdout 0.15] [--seconds 2] [--rounds 5]
    [--json FILE]

A full-rank checkpoint also gets rows of lower rank. The rows "seeded" are the same net at full rank with random
weights. They show the speed at full rank where no full-rank checkpoint is at hand.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from bench.export_forms import BASELINE, FORMS, export_forms, write_calibration_images
from bench.graph_flop import count_gflop
from bench.machine import describe_machine
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Source
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.evaluation.summary import Summary
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine import BATCH_SIZE, open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions

IMAGES = BATCH_SIZE["cpu"]  # images per forward pass, as in the server
Predict = Callable[[np.ndarray], object]


ENGINES = {
    "OpenVINO bf16": EngineChoice("openvino", "cpu", "bf16"),
    "OpenVINO fp32": EngineChoice("openvino", "cpu", "fp32"),
    "onnxruntime": EngineChoice("onnxruntime", "cpu", "fp32"),
    "onnxruntime's LRN": None,  # without runtime/onnxruntime_lrn.py
    "CUDA": EngineChoice("onnxruntime", "cuda:0", "auto"),
}


def open_predict(name: str, folder: Path) -> Predict | None:
    """An export on one of ENGINES; None where this machine lacks the engine."""
    graph = (folder / "tencrop.onnx").read_bytes()
    choice = ENGINES[name]
    if choice is None:
        import onnxruntime

        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images})
    try:
        return open_engine(graph, choice).run
    except WorkFailed:
        return None


def measure_speeds(files: Mapping[str, Path], side: int, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """images/s of each form on each engine: the median of `rounds` rounds, each from its median forward pass."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, 3), np.uint8)
    found: dict[str, dict[str, float]] = {form: {} for form in files}
    for engine in ENGINES:
        opened = {form: run for form, folder in files.items() if (run := open_predict(engine, folder))}
        measured: dict[str, list[float]] = {form: [] for form in opened}
        for _ in range(rounds):
            for form, predict in opened.items():
                measured[form].append(IMAGES / time_forward(predict, images, seconds))
        for form, values in measured.items():
            found[form][engine] = statistics.median(values)
        print(f"measured {engine}", file=sys.stderr)
    return found


def time_forward(predict: Predict, images: np.ndarray, seconds: float) -> float:
    """Median seconds of a forward pass, measured for `seconds` after a warm-up."""
    times: list[float] = []
    predict(images)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        predict(images)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure_errors(folder: Path, data: Source, holdout: float) -> Summary:
    """The summary of a validation on the held-out images, in the default precision."""
    return evaluate_source(data, open_classifier(folder, EngineOptions()), holdout=holdout)


def describe_form(name: str, folder: Path, found: Mapping[str, float], summary: Summary | None) -> dict[str, Any]:
    """All figures of one form."""
    parity = json.loads((folder / "parity.json").read_text())
    return {
        "form": name,
        "about": FORMS[name].about,
        "bytes": (folder / "tencrop.onnx").stat().st_size,
        "gflop_per_image": count_gflop(onnx.load(folder / "tencrop.onnx")),
        "logits_relative": max(compared["logits_relative"] for compared in parity["compared"]),
        "images_per_s": dict(found),
        "errors": summary and {"center": asdict(summary.center), "ten_crop": asdict(summary.ten_crop)},
    }


def render_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row per form, in Markdown."""
    engines = [engine for engine in ENGINES if engine in rows[0]["images_per_s"]]
    base = next((row for row in rows if row["form"] == BASELINE), rows[0])["images_per_s"]
    errors = ("center top-1 / top-5", "ten views top-1 / top-5")
    head = ("form", "", "MB", "GFLOP an image", "logits, relative", *errors, *engines)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        wrong = [
            f"{100 * e['top1_error']:.2f} / {100 * e['top5_error']:.2f}" for e in (row["errors"] or {}).values()
        ] or ["", ""]
        fast = [
            f"{row['images_per_s'][engine]:.1f} ({row['images_per_s'][engine] / base[engine]:.2f} x)"
            for engine in engines
        ]
        size, work = f"{row['bytes'] / 1e6:.1f}", f"{row['gflop_per_image']:.2f}"
        cells = (row["form"], row["about"], size, work, f"{row['logits_relative']:.1e}", *wrong, *fast)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and measure; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="labelled images, in any layout that `tencrop evaluate` reads"
    )
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED / "checkpoint", help="default: the embedded one")
    parser.add_argument("--holdout", type=float, default=0.15, help="as for `tencrop evaluate`")
    parser.add_argument("--seconds", type=float, default=2, help="for each form and engine in each round")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    try:
        measure(parser.parse_args())
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))


def measure(options: argparse.Namespace) -> None:
    """Export, evaluate and time every form; print the table."""
    data = open_source(options.data)
    mask = choose_holdout(data.entries, options.holdout)
    checkpoint = Checkpoint.load(options.checkpoint)
    with TemporaryDirectory() as scratch:
        files = export_forms(checkpoint, write_calibration_images(data, mask, Path(scratch) / "photos"), Path(scratch))
        fast = measure_speeds(files, checkpoint.contract.resize, options.seconds, options.rounds)
        wrong = {
            name: None if FORMS[name].seeded else measure_errors(folder, data, options.holdout)
            for name, folder in files.items()
        }
        rows = [describe_form(name, folder, fast[name], wrong[name]) for name, folder in files.items()]
    precision = next((summary.precision for summary in wrong.values() if summary), "")
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")
    about = f"batches of {IMAGES} images; errors over {int(mask.sum())} images, in {precision}"
    print(f"{describe_machine()}; {about}\n\n{render_table(rows)}")


if __name__ == "__main__":
    main()
