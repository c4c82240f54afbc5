"""Trains on Caltech-101 from scratch by the protocol of Zeiler & Fergus 2013 (arXiv 1311.2901, table 4).

python -m experiments.caltech --photos caltech101 --each 30 --fold 0 --out RUNS/fold0
    [--recipe caltech101] [--set epochs=100] [--choose 5] [--precision bf16]

The result is the mean per-class accuracy on images that the net was not trained on. A fold draws `--each` training
images per class, and up to 50 other images per class as test images. `--choose N` serves to choose a schedule: the fold
then evaluates on N of the training images per class and leaves the test images alone. Repeat the same command to resume
a stopped run; result.json in --out is written last.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.account import Inventory
from tencrop.dataset.folder import Folder, list_class_images, open_folder
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.dataset.source import Entries, ignore_progress
from tencrop.dataset.walk import list_subfolders
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.evaluation.prediction_records import pad_top5
from tencrop.export.run import export
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.model.run_progress import EpochRecord
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.training.recipe import Recipe, load
from tencrop.training.train import train

TESTED = 50  # most test images per class
ENOUGH = 10  # least test images per class for its accuracy to mean something
FOR_PLATEAU = 15  # of so many training images one is for the plateau rule, which adapts the learning rate

Fit = Callable[[PreparedStore, Path], Sequence[EpochRecord]]  # prepared images, run folder -> history


def main() -> None:
    """Read the command line and run a fold; an error or a stop is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder with a folder per class")
    parser.add_argument("--each", type=int, default=30, help="training images per class")
    parser.add_argument("--fold", type=int, default=0, help="number of the random draw")
    parser.add_argument("--choose", type=int, default=0, help="of --each, images to choose a schedule on")
    parser.add_argument("--recipe", default="caltech101", help="a recipe's name or file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a field of the recipe")
    parser.add_argument("--precision", default="fp32", help="of the evaluation, as for `tencrop evaluate`")
    parser.add_argument("--out", type=Path, required=True, help="the folder of this run")
    run_to_end(run_fold, parser.parse_args())


def run_to_end(run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run with the options of the command line; an error or a stop ends the process with one line."""
    try:
        run(options)
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))
    except Stopped as end:
        print(end.what, file=sys.stderr)
        sys.exit(128 + end.number)


def run_fold(options: argparse.Namespace) -> None:
    """Draw the fold, train, export and evaluate; print the result and write result.json."""
    data = options.out / "data"
    link_images(draw_fold(options.photos, options.each, options.fold, options.choose), options.photos, data)
    recipe = load(options.recipe, options.set)
    held_apart = FOR_PLATEAU if recipe.plateau else 0
    result = {
        "each": options.each,
        "fold": options.fold,
        "choose": options.choose,
        "recipe": options.recipe,
        "set": options.set,
        **train_and_test(train_recipe(recipe), held_apart, data, options.out, options.precision),
    }
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def train_recipe(recipe: Recipe) -> Fit:
    """A function that trains a recipe, or resumes it."""
    return lambda prepared, run: train(recipe, prepared, run, True, None, print_epoch)


def train_and_test(fit: Fit, held_apart: int, data: Path, out: Path, precision: str) -> dict[str, Any]:
    """Train on DATA/train, evaluate on DATA/val -> the result. All files of the run lie in `out`.

    held_apart: see training_entries.
    """
    prepared, run, model = (out / name for name in ("prepared", "run", "export"))
    source = open_folder(data, None, ignore_progress)
    held = choose_holdout(source.entries, 0)
    prepare(training_part(source, held, held_apart), prepared, 0, lambda done: None)
    started = time.time()
    history = fit(PreparedStore.open(prepared), run)
    export(list_checkpoints(run)[-1], model, "fp32", 0, None)
    classifier = open_classifier(model, EngineOptions(precision=precision))
    evaluate_source(source, classifier, holdout=0, out=out / "report", resume=True)
    return {
        "precision": classifier.engine.precision,
        "epochs": len(history),
        "training_seconds": round(sum(record.seconds for record in history)),
        "seconds_of_this_call": round(time.time() - started),
        **compute_accuracies(out / "report" / "predictions.parquet"),
    }


def draw_fold(photos: Path, each: int, fold: int, choose: int) -> dict[str, list[str]]:
    """Paths below `photos`, by "train" and "val". Each class is shuffled with the seed (fold, class number)."""
    found: dict[str, list[str]] = {"train": [], "val": []}
    for number, name in enumerate(list_subfolders(photos)):
        images = list_class_images(photos, photos / name, Inventory())
        shuffled = [images[i] for i in np.random.default_rng((fold, number)).permutation(len(images))]
        trained = each - choose
        found["train"] += shuffled[:trained]
        found["val"] += shuffled[trained:each] if choose else shuffled[each : each + TESTED]
    return found


def link_images(subsets: Mapping[str, list[str]], photos: Path, data: Path) -> None:
    """Make the links DATA/train/<class>/<image> and DATA/val/<class>/<image>."""
    for subset, images in subsets.items():
        for image in images:
            link = data / subset / image
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                os.symlink((photos / image).resolve(), link)


def training_part(source: Folder, held: np.ndarray, held_apart: int) -> Folder:
    """The part of a data set that a training sees. Its account is of this part alone."""
    entries = training_entries(source.entries, held, held_apart)
    return dataclasses.replace(source, entries=entries, inventory=Inventory(len(entries)))


def training_entries(entries: Entries, held: np.ndarray, held_apart: int) -> Entries:
    """The images that a training sees: those to train on, and a few to validate on.

    Where a training chooses by its validation images, `held_apart` is not 0, and they are every so many of the training
    images. Else they are every 25th of the test images `held`, bool [n], and serve the curves alone.
    """
    if held_apart:
        training = entries.select(~held)
        return dataclasses.replace(training, validation=np.arange(len(training)) % held_apart == 0)
    mask = ~held
    mask[np.flatnonzero(held)[::25]] = True
    return entries.select(mask)


def print_epoch(epoch: int, share: float, shown: Mapping[str, float]) -> None:
    """Print a line at the end of each epoch."""
    if share == 1:
        print(
            f"epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s",
            file=sys.stderr,
            flush=True,
        )


def compute_accuracies(predictions: Path) -> dict[str, Any]:
    """Accuracies of center crop and ten views, over images and per class (all classes, and those with ENOUGH)."""
    table = pq.read_table(predictions)
    labels = table["label"].to_numpy()
    tested = np.bincount(labels)
    found: dict[str, Any] = {"images": len(labels)}
    found |= {"classes": int((tested > 0).sum()), "classes_with_enough": int((tested >= ENOUGH).sum())}
    for kind in ("center", "ten_crop"):
        guesses = pad_top5(table[f"{kind}_indices"])
        right = guesses[:, 0] == labels
        per_class = np.bincount(labels, right) / np.maximum(tested, 1)
        found[kind] = {
            "top1": right.mean(),
            "top5": (guesses == labels[:, None]).any(1).mean(),
            "per_class": per_class[tested > 0].mean(),
            "per_class_with_enough": per_class[tested >= ENOUGH].mean() if (tested >= ENOUGH).any() else None,
        }
    return found


if __name__ == "__main__":
    main()
