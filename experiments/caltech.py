"""Caltech-101 from scratch as Zeiler & Fergus 2013 (arXiv 1311.2901, table 4) try it: mean per-class accuracy on images never trained on.

python -m experiments.caltech --photos caltech101 --each 30 --fold 0 --out RUNS/fold0 [--recipe caltech101] [--set epochs=100] [--choose 5]
    [--precision bf16]

A fold draws `--each` training images a class, and up to 50 others of each for the test. With `--choose N` the test images are left
alone: N of each class's training images are kept for validation instead, to choose a schedule by. The same command goes on with what
was stopped; result.json in --out is written last.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.folder import class_images, open_folder, subfolders
from tencrop.dataset.holdout import held_out
from tencrop.dataset.prepared import Prepared, prepare
from tencrop.dataset.source import Entries, unheard
from tencrop.evaluation.evaluate import evaluate, plan
from tencrop.evaluation.prediction_records import pad_top5
from tencrop.export.run import export
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.training.loop import train
from tencrop.training.recipe import load
from tencrop.training.record import Run

TESTED = 50  # at most, of each class
ENOUGH = 10  # test images; a class with fewer has an accuracy of little meaning


def main() -> None:
    """Read the command line; what is wrong with it, or stops it, is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder per class")
    parser.add_argument("--each", type=int, default=30, help="training images of each class")
    parser.add_argument("--fold", type=int, default=0, help="which draw")
    parser.add_argument("--choose", type=int, default=0, help="of these, kept for choosing a schedule by")
    parser.add_argument("--recipe", default="caltech101")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--precision", default="fp32", help="of the evaluation, as of `tencrop evaluate`")
    parser.add_argument("--out", type=Path, required=True)
    try:
        run_fold(parser.parse_args())
    except (BadInput, WorkFailed, Stopped) as error:
        sys.exit(str(error))


def run_fold(options: argparse.Namespace) -> None:
    """Cut the fold, train, export, evaluate; print and keep what came of it."""
    data, prepared, run, made = (options.out / name for name in ("data", "prepared", "run", "export"))
    lay_out(split(options.photos, options.each, options.fold, options.choose), options.photos, data)
    source = open_folder(data, None, unheard)
    recipe, held = load(options.recipe, options.set), held_out(source.entries, 0)
    seen = dataclasses.replace(source, entries=watched(source.entries, held, recipe.plateau is not None))
    prepare(seen, prepared, 0, lambda done: None)
    started = time.time()
    history = train(recipe, Prepared.open(prepared), run, True, None, show)
    export(Run.checkpoints(run)[-1], made, "fp32", 0, None)
    classifier = open_classifier(made, EngineOptions(precision=options.precision))
    evaluate(plan(source, classifier, 0, None), classifier, options.out / "report", True, lambda done: None)
    result = {
        "each": options.each,
        "fold": options.fold,
        "choose": options.choose,
        "recipe": options.recipe,
        "set": options.set,
        "precision": classifier.engine.precision,
        "epochs": len(history),
        "training_seconds": round(sum(row["seconds"] for row in history)),
        "seconds_of_this_call": round(time.time() - started),
        **accuracies(options.out / "report" / "predictions.parquet"),
    }
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def split(photos: Path, each: int, fold: int, choose: int) -> dict[str, list[str]]:
    """Paths below `photos` by "train" and "val": a draw without order, each class's by (fold, class)."""
    found: dict[str, list[str]] = {"train": [], "val": []}
    for number, name in enumerate(subfolders(photos)):
        images = class_images(photos, photos / name)
        drawn = [images[i] for i in np.random.default_rng((fold, number)).permutation(len(images))]
        kept = each - choose
        found["train"] += drawn[:kept]
        found["val"] += drawn[kept:each] if choose else drawn[each : each + TESTED]
    return found


def lay_out(parts: Mapping[str, list[str]], photos: Path, data: Path) -> None:
    """DATA/train/<class>/<image> and DATA/val/<class>/<image>, as links."""
    for part, images in parts.items():
        for image in images:
            link = data / part / image
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                os.symlink((photos / image).resolve(), link)


def watched(entries: Entries, held: np.ndarray, plateau: bool) -> Entries:
    """What training sees: images to train on, and a few to validate on after each epoch.

    They are every fifth of the held images, bool [n], for curves alone; where a plateau rule divides the rate by them, every
    fifteenth of the training images instead.
    """
    if plateau:
        training = entries.chosen(~held)
        return dataclasses.replace(training, validation=np.arange(len(training)) % 15 == 0)
    mask = ~held
    mask[np.flatnonzero(held)[::5]] = True
    return entries.chosen(mask)


def show(epoch: int, share: float, shown: Mapping[str, float]) -> None:
    """One line an epoch."""
    if share == 1:
        print(
            f"epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s",
            file=sys.stderr,
            flush=True,
        )


def accuracies(predictions: Path) -> dict[str, Any]:
    """Of the center crop and of the ten: over all images, and the mean over the classes', all and those with enough test images."""
    table = pq.read_table(predictions)
    labels = table["label"].to_numpy()
    tested = np.bincount(labels)
    found: dict[str, Any] = {"images": len(labels)}
    found |= {"classes": int((tested > 0).sum()), "classes_with_enough": int((tested >= ENOUGH).sum())}
    for kind in ("center", "ten_crop"):
        guesses = pad_top5(table[f"{kind}_indices"])
        right = guesses[:, 0] == labels
        of_class = np.bincount(labels, right) / np.maximum(tested, 1)
        found[kind] = {
            "top1": right.mean(),
            "top5": (guesses == labels[:, None]).any(1).mean(),
            "per_class": of_class[tested > 0].mean(),
            "per_class_with_enough": of_class[tested >= ENOUGH].mean() if (tested >= ENOUGH).any() else None,
        }
    return found


if __name__ == "__main__":
    main()
