"""Compares the forms in which `tencrop export` writes one net: bytes, parity, errors, and images/s on each engine here.

python -m bench.export --data DATA [--checkpoint FOLDER] [--holdout 0.15] [--seconds 2] [--rounds 5] [--json FILE]

A full-rank checkpoint also gets rows of lower rank. The rows "seeded" are the same net at full rank with random
weights. They show the speed at full rank where no full-rank checkpoint is at hand.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.machine import describe_machine
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.strict_config import dump
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Source
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.evaluation.summary import Summary
from tencrop.export.compress import cast_to_fp32
from tencrop.export.run import INT8_IMAGES, export
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.net import AlexNet
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine import BATCH_SIZE, open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions

IMAGES = BATCH_SIZE["cpu"]  # images per forward pass, as in the server
BASELINE = "seeded, plain"

Predict = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Form:
    """The options of one export."""

    about: str
    weights: str = "fp32"
    plain: bool = False
    rank: int = 0
    seeded: bool = False


FORMS = {
    BASELINE: Form("full rank, random weights, each view computed separately", plain=True, seeded=True),
    "seeded": Form("full rank, random weights, the views share their first layers", seeded=True),
    "plain": Form("the checkpoint, each view computed separately", plain=True),
    "shared": Form("the checkpoint, the views share their first layers: `tencrop export`"),
    "fp16": Form("`--weights fp16`", weights="fp16"),
    "int8, plain": Form("`--weights int8 --plain`", weights="int8", plain=True),
    "int8": Form("`--weights int8`", weights="int8"),
    **{
        f"rank {rank}": Form(f"`--fc-rank {rank} --weights fp16`, not fine-tuned", weights="fp16", rank=rank)
        for rank in (256, 128, 64)
    },
    "int8, rank 256": Form("`--fc-rank 256 --weights int8`, not fine-tuned", weights="int8", rank=256),
}
ENGINES = {
    "OpenVINO bf16": EngineChoice("openvino", "cpu", "bf16"),
    "OpenVINO fp32": EngineChoice("openvino", "cpu", "fp32"),
    "onnxruntime": EngineChoice("onnxruntime", "cpu", "fp32"),
    "onnxruntime, own LRN": None,  # without runtime/onnxruntime_lrn.py
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


def draw_weights(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint's net at full rank, with the random weights from which its recipe starts."""
    thick = {layer: replace(getattr(checkpoint.net, layer), rank=0) for layer in ("fc6", "fc7", "fc8")}
    alexnet = AlexNet(replace(checkpoint.net, **thick))
    alexnet.init(0)
    return replace(checkpoint, recipe={**checkpoint.recipe, "net": dump(alexnet.config)}, weights=alexnet.weights())


def export_forms(checkpoint: Checkpoint, photos: Path, out: Path) -> dict[str, Path]:
    """Export every form that this checkpoint allows, through the parity gate."""
    sources = {True: draw_weights(checkpoint), False: cast_to_fp32(checkpoint)}
    for is_seeded, source in sources.items():
        source.save(out / f"checkpoint{is_seeded}")
    forms = {name: form for name, form in FORMS.items() if not (form.rank and checkpoint.net.fc6.rank)}
    for name, form in forms.items():
        export(out / f"checkpoint{form.seeded}", out / name, form.weights, form.rank, photos, form.plain)
        print(f"exported {name}", file=sys.stderr)
    return {name: out / name for name in forms}


def write_calibration_images(data: Source, mask: np.ndarray, folder: Path) -> Path:
    """Write an even selection of the images that are not held out. Raises BadInput if all images are held out."""
    if mask.all():
        raise BadInput(
            f"{data.root}: every image is a validation image, so none is left to calibrate int8", "use --holdout 0.15"
        )
    free = data.entries.select(~mask)
    wanted = min(INT8_IMAGES, len(free))
    folder.mkdir()
    for number in range(wanted):
        entry = free[number * len(free) // wanted]
        (folder / f"{number:03}.jpg").write_bytes(data.read(entry))
    return folder


def describe_form(name: str, folder: Path, found: Mapping[str, float], summary: Summary | None) -> dict[str, Any]:
    """All figures of one form."""
    parity = json.loads((folder / "parity.json").read_text())
    return {
        "form": name,
        "about": FORMS[name].about,
        "bytes": (folder / "tencrop.onnx").stat().st_size,
        "logits_relative": max(compared["logits_relative"] for compared in parity["compared"]),
        "images_per_s": dict(found),
        "errors": summary and {"center": asdict(summary.center), "ten_crop": asdict(summary.ten_crop)},
    }


def render_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row per form, in Markdown."""
    engines = [engine for engine in ENGINES if engine in rows[0]["images_per_s"]]
    base = next((row for row in rows if row["form"] == BASELINE), rows[0])["images_per_s"]
    head = ("form", "", "MB", "logits, relative", "center top-1 / top-5", "ten views top-1 / top-5", *engines)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        wrong = [
            f"{100 * e['top1_error']:.2f} / {100 * e['top5_error']:.2f}" for e in (row["errors"] or {}).values()
        ] or ["", ""]
        fast = [
            f"{row['images_per_s'][engine]:.1f} ({row['images_per_s'][engine] / base[engine]:.2f} x)"
            for engine in engines
        ]
        cells = (row["form"], row["about"], f"{row['bytes'] / 1e6:.1f}", f"{row['logits_relative']:.1e}", *wrong, *fast)
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
