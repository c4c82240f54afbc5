"""Makes all of the embedded model again from a checkpoint: tencrop.onnx, summary.json, conv1.png, the README's errors.

python -m experiments.embedded CHECKPOINT [--data DATA]

summary.json and the README's rows change only with --data, a labelled data set of which a share was held out of the
training.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tencrop
from tencrop.common.atomic import atomic_folder, write_atomic
from tencrop.common.errors import TencropError
from tencrop.evaluation.summary import Summary
from tencrop.export.run import export
from tencrop.model.checkpoint import DOCUMENT, WEIGHTS, Checkpoint
from tencrop.model.checksums import write_sums
from tencrop.model.filter_picture import draw_filters
from tencrop.model.measured_errors import SUMMARY_FILE, ErrorRates

ROOT = Path(__file__).parents[1]
MODEL = Path("model/embedded/caltech101")
PICTURE = Path("docs/conv1.png")
HOLDOUT = 0.15  # share of each class that the README's errors are measured on
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
        export(checkpoint, new, "fp32", 0, None)
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
    write_atomic(root / "README.md", readme)


def measure(model: Path, data: Path, precision: str) -> Summary:
    """The errors over the images that were held out."""
    with tencrop.load(model, precision=precision) as classifier:
        return tencrop.evaluate(data, classifier, holdout=HOLDOUT)


def replace_row(readme: str, row: str, saved: Checkpoint, size: int, summary: Summary) -> str:
    """Replace the README's row of this precision. The fp32 row also names the form and the file's bytes."""
    form = f"fp32 ({describe_form(saved)}, {size / 1e6:.1f} MB)" if row == "fp32" else row
    marker = f"<!-- make embedded: {row} -->"
    cells = [format_errors(errors) for errors in (summary.center, summary.ten_crop)]
    means = summary.mean_over_classes
    cells += [format_errors(errors) for errors in (means.center, means.ten_crop)] if means else ["", ""]
    line = f"| {form} {marker} | {' | '.join(cells)} |"
    changed, found = re.subn(rf"^.*{re.escape(marker)}.*$", lambda _: line, readme, flags=re.MULTILINE)
    if found != 1:
        raise ValueError(f"README.md has {found} rows with the marker {marker}")
    return changed


def describe_form(saved: Checkpoint) -> str:
    """The net's form in words."""
    rank = f"fc6 and fc7 at rank {saved.net.fc6.rank}, " if saved.net.fc6.rank else ""
    return f"{rank}{'fp16' if saved.weights['conv1.weight'].dtype == np.float16 else 'fp32'} weights"


def format_errors(errors: ErrorRates) -> str:
    """Top-1 / top-5 as the README writes them."""
    return f"{errors.top1_error:.2%} / {errors.top5_error:.2%}".replace("%", " %")


if __name__ == "__main__":
    main()
