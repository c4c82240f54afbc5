"""Measures transfer on Caltech-101: pre-trains on 81 classes, then learns the other 20 from a few images of each.

python -m experiments.transfer --photos caltech101 --draw 0 --out RUNS/draw0 [--each 5 10 20 30]
    [--methods scratch finetune linear] [--choose] [--set finetune.epochs=40] [--precision bf16]

A draw chooses the 20 classes by a hash, among those with at least 40 photographs. In each of them the first photographs
by a hash are for training, and up to 50 behind the thirtieth for the test. The pre-training never sees these classes.
`--choose` serves to choose a schedule: the test images are then the ten training photographs behind the twentieth.
Repeat the same command to resume; each method and number of images has its result.json.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from experiments.caltech import Fit, link_images, print_epoch, run_to_end, train_and_test, train_recipe
from tencrop.dataset.account import Inventory
from tencrop.dataset.folder import list_class_images, open_folder
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.dataset.source import ignore_progress
from tencrop.dataset.walk import list_subfolders
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.model.run_progress import EpochRecord
from tencrop.training.linear import train_linear
from tencrop.training.recipe import load
from tencrop.training.train import train

NEW = 20  # classes to learn after the pre-training
LEAST = 40  # photographs of such a class
MOST = 30  # training images of such a class
TESTED = 50  # most test images of such a class
CHOSEN_FROM = 20  # --choose: training images before this one stay for training
HELD = 0.05  # of the pre-training's images, for its curves
PRETRAINING = ["epochs=16"]
SEEN = 20_000  # images that a training from scratch sees, whatever their number: an epoch is short with few
SCRATCH = ["optim.batch=32"]

Photographs = dict[str, list[str]]  # paths below the data set, by class
Start = Callable[[], Path]  # pre-trains where that is still to be done -> the checkpoint


def main() -> None:
    """Read the command line, run what is left to run; an error or a stop is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder with a folder per class")
    parser.add_argument("--draw", type=int, default=0, help="number of the draw of classes and photographs")
    parser.add_argument("--each", type=int, nargs="*", default=[5, 10, 20, 30], help="training images per new class")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="how to learn them")
    parser.add_argument("--choose", action="store_true", help="test on training images, to choose a schedule")
    parser.add_argument("--set", action="append", default=[], metavar="METHOD.KEY=VALUE", help="change a recipe")
    parser.add_argument("--precision", default="fp32", help="of the evaluation, as for `tencrop evaluate`")
    parser.add_argument("--out", type=Path, required=True, help="the folder of this draw")
    run_to_end(run_draw, parser.parse_args())


def run_draw(options: argparse.Namespace) -> None:
    """Learn the new classes by each method from each number of images; pre-train for the first that needs it."""
    old, new = draw_classes(list_photographs(options.photos, options.draw), options.draw)
    start = cache(lambda: pretrain(old, options.photos, options.out / "pretrain"))
    for each in options.each:
        for method in options.methods:
            out = options.out / f"{method}-{each}{'-choose' * options.choose}"
            if not (out / "result.json").is_file():
                link_images(split_photographs(new, each, options.choose), options.photos, out / "data")
                changes = [change.removeprefix(f"{method}.") for change in options.set if change.startswith(method)]
                fit = METHODS[method](each * NEW, start, changes)
                result = train_and_test(fit, 0, out / "data", out, options.precision)
                about = {"draw": options.draw, "each": each, "method": method, "choose": options.choose}
                (out / "result.json").write_text(json.dumps(about | {"set": changes} | result, indent=1) + "\n")
            print((out / "result.json").read_text())


def list_photographs(photos: Path, draw: int) -> Photographs:
    """The photographs of each class, in the order of the draw's hash of their paths."""
    return {
        name: sorted(list_class_images(photos, photos / name, Inventory()), key=lambda path: hash_text(draw, path))
        for name in list_subfolders(photos)
    }


def hash_text(draw: int, text: str) -> str:
    """The SHA-256 of a draw's number and a text, in hexadecimal digits."""
    return hashlib.sha256(f"{draw} {text}".encode()).hexdigest()


def draw_classes(photographs: Photographs, draw: int) -> tuple[Photographs, Photographs]:
    """Choose the NEW classes with the lowest hashes among those with LEAST photographs -> (the others, these)."""
    candidates = [name for name, paths in photographs.items() if len(paths) >= LEAST]
    new = sorted(candidates, key=lambda name: hash_text(draw, name))[:NEW]
    return ({k: v for k, v in photographs.items() if k not in new}, {k: photographs[k] for k in sorted(new)})


def split_photographs(new: Photographs, each: int, choose: bool) -> Photographs:
    """The photographs of all new classes by "train" and "val"."""
    tests = slice(CHOSEN_FROM, MOST) if choose else slice(MOST, MOST + TESTED)
    return {
        "train": [path for paths in new.values() for path in paths[:each]],
        "val": [path for paths in new.values() for path in paths[tests]],
    }


def pretrain(old: Photographs, photos: Path, out: Path) -> Path:
    """Train on all photographs of the old classes -> the last checkpoint."""
    data, prepared, run = (out / name for name in ("data", "prepared", "run"))
    link_images({".": [path for paths in old.values() for path in paths]}, photos, data)
    prepare(open_folder(data, None, ignore_progress), prepared, HELD, lambda done: None)
    train(load("caltech101", PRETRAINING), PreparedStore.open(prepared), run, True, None, print_epoch)
    return list_checkpoints(run)[-1]


def scratch(images: int, start: Start, changes: Sequence[str]) -> Fit:
    """Training from scratch, which sees SEEN images."""
    return train_recipe(load("caltech101", [f"epochs={SEEN // images}", *SCRATCH, *changes]))


def finetune(images: int, start: Start, changes: Sequence[str]) -> Fit:
    """Fine-tuning of the pre-trained net."""
    return train_recipe(load("finetune", [f"start={start()}", *changes]))


def linear(images: int, start: Start, changes: Sequence[str]) -> Fit:
    """Logistic regression on the pre-trained net's features, fitted anew where it was stopped."""
    checkpoint = start()

    def fit(prepared: PreparedStore, run: Path) -> list[EpochRecord]:
        if found := list_checkpoints(run):
            return [*Checkpoint.load(found[-1]).run_progress.history]
        return [train_linear(checkpoint, prepared, run)]

    return fit


METHODS = {"scratch": scratch, "finetune": finetune, "linear": linear}


if __name__ == "__main__":
    main()
