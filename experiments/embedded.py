"""Makes all of the embedded model again from a checkpoint: tencrop.onnx, summary.json, conv1.png, the README's rows.

python -m experiments.embedded CHECKPOINT [--data DATA]

DATA is a labelled data set of which a share was held out of the training. With it the model is calibrated on that
share, and summary.json and the README's rows are made again; without it they stay, and the model is not calibrated.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tencrop
from tencrop.common.atomic import atomic_folder, write_atomic
from tencrop.common.errors import TencropError
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.calibrate import collect_answers, fit_calibration, plan_calibration
from tencrop.evaluation.conformal import cover_halves
from tencrop.evaluation.summary import Summary
from tencrop.export.run import export
from tencrop.model.checkpoint import DOCUMENT, WEIGHTS, Checkpoint
from tencrop.model.checksums import write_sums
from tencrop.model.filter_picture import draw_filters
from tencrop.model.measured_errors import SUMMARY_FILE, ErrorRates
from tencrop.model.tencropfile import add_calibration

ROOT = Path(__file__).parents[1]
MODEL = Path("model/embedded/caltech101")
PICTURE = Path("docs/conv1.png")
HOLDOUT = 0.15  # share of each class that the README's errors are measured on
PERCENTS = (80, 90, 95)  # the README's coverages
HALVES = 5  # random ones, of the images that the coverages are measured on
PRECISIONS = {"fp32": "fp32", "auto": "bf16"}  # to ask for -> the README's row; the first one's summary is kept


def main() -> None:
    """Read the command line; a bad checkpoint or data set is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint folder, in the form that is embedded")
    parser.add_argument("--data", type=Path, help="the labelled images to measure the README's errors on")
    options = parser.parse_args()
    try:
        embed(options.checkpoint, options.data)
    except TencropError as error:
        sys.exit(str(error))


def embed(checkpoint: Path, data: Path | None = None, root: Path = ROOT) -> None:
    """Replace the embedded model in the checkout `root`, and the picture and the errors that come from the model.

    Raises BadInput for a bad checkpoint or data set, WorkFailed where the parity gate refuses. Then the model stays.
    """
    saved = Checkpoint.load(checkpoint)
    with TemporaryDirectory() as folder:
        new = Path(folder) / MODEL.name  # a summary names the model by its folder
        export(checkpoint, new, find_weight_format(saved), 0, None)
        reached = calibrate(new, data) if data else {}
        summaries = [measure(new, data, precision) for precision in PRECISIONS] if data else []
        with atomic_folder(root / MODEL) as model:
            shutil.copy(new / "tencrop.onnx", model)
            for summary in summaries[:1]:
                write_atomic(model / SUMMARY_FILE, json.dumps(summary.to_json(), indent=1) + "\n")
            (model / "checkpoint").mkdir()
            for name in (DOCUMENT, WEIGHTS):  # nothing of what resumes a training
                shutil.copy(checkpoint / name, model / "checkpoint")
            write_sums(model / "checkpoint", [WEIGHTS])
    write_atomic(root / PICTURE, draw_filters(saved.weights["conv1.weight"]))
    readme = (root / "README.md").read_text(encoding="utf-8")
    size = (root / MODEL / "tencrop.onnx").stat().st_size
    for row, summary in zip(PRECISIONS.values(), summaries, strict=False):
        if summary.precision == row:
            readme = replace_row(readme, row, saved, size, summary)
        else:
            print(f"README.md: the row of {row} stays, for this machine computes in {summary.precision}")
    write_atomic(root / "README.md", replace_coverages(readme, reached) if reached else readme)


def calibrate(model: Path, data: Path) -> dict[int, np.ndarray]:
    """Calibrate the model on the images that were held out -> by percent, the coverages reached on HALVES halves."""
    with tencrop.load(model, precision="fp32") as classifier:
        plan = plan_calibration(open_source(data, training=False), classifier, HOLDOUT)
        answers = collect_answers(plan, classifier)
        found = fit_calibration(answers, plan, classifier)
        write_atomic(model / "tencrop.onnx", add_calibration(classifier.file.graph, found))
    true, is_first = answers.judge_first()
    return {percent: cover_halves(true, is_first, percent, HALVES) for percent in PERCENTS}


def measure(model: Path, data: Path, precision: str) -> Summary:
    """The errors over the images that were held out."""
    with tencrop.load(model, precision=precision) as classifier:
        return tencrop.evaluate(data, classifier, holdout=HOLDOUT)


def replace_row(readme: str, row: str, saved: Checkpoint, size: int, summary: Summary) -> str:
    """Replace the README's row of this precision. The fp32 row also names the form and the file's bytes."""
    form = f"fp32 ({describe_form(saved)}, {size / 1e6:.1f} MB)" if row == "fp32" else row
    cells = [format_errors(errors) for errors in (summary.center, summary.ten_crop)]
    means = summary.mean_over_classes
    cells += [format_errors(errors) for errors in (means.center, means.ten_crop)] if means else ["", ""]
    return replace_marked(readme, row, form, cells)


def replace_marked(readme: str, row: str, title: str, cells: Sequence[str]) -> str:
    """Replace the README's row that has this marker. Raises ValueError where not exactly one has it."""
    marker = f"<!-- make embedded: {row} -->"
    line = f"| {title} {marker} | {' | '.join(cells)} |"
    changed, found = re.subn(rf"^.*{re.escape(marker)}.*$", lambda _: line, readme, flags=re.MULTILINE)
    if found != 1:
        raise ValueError(f"README.md has {found} rows with the marker {marker}")
    return changed


def replace_coverages(readme: str, reached: Mapping[int, np.ndarray]) -> str:
    """Replace the README's row of the coverages that sets reach on images that their thresholds do not come from."""
    spans = (f"{found.mean():.1%} ({found.min():.1%} to {found.max():.1%})" for found in reached.values())
    return replace_marked(readme, "coverage", "reached", [span.replace("%", " %") for span in spans])


def describe_form(saved: Checkpoint) -> str:
    """The net's form in words."""
    rank = f"fc6 and fc7 at rank {saved.net.fc6.rank}, " if saved.net.fc6.rank else ""
    return f"{rank}{find_weight_format(saved)} weights"


def find_weight_format(saved: Checkpoint) -> str:
    """The format that keeps the checkpoint's weights as they are: a name for `tencrop export --weights`."""
    return "fp16" if saved.weights["conv1.weight"].dtype == np.float16 else "fp32"


def format_errors(errors: ErrorRates) -> str:
    """Top-1 / top-5 as the README writes them."""
    return f"{errors.top1_error:.2%} / {errors.top5_error:.2%}".replace("%", " %")


if __name__ == "__main__":
    main()
