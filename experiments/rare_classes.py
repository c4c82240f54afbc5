"""Tries whether a net's answers favor the classes with many training images: divides them by the classes' shares.

python -m experiments.rare_classes caltech101 [--holdout 0.15] [--model M] [--precision fp32]

The probabilities are divided by (share of the training images)^power and normalized again: those of the mean over the
views, or those of each view before the mean. Errors are over images and as a mean over classes, on the held-out images.
"""

import argparse
from pathlib import Path

import numpy as np

from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.calibrate import collect_answers, plan_calibration
from tencrop.evaluation.confidence_fit import Answers
from tencrop.model.embedded import EMBEDDED
from tencrop.model.metrics import ClassCounts, ErrorCounts
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

POWERS = (0, 0.2, 0.4, 0.6, 0.8, 1.0)


def main() -> None:
    """Read the command line and print a row for each power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the data set that the net was trained on a part of")
    parser.add_argument("--holdout", type=float, default=0.15, help="share of each class that it was not trained on")
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    entries = open_source(options.data, training=True).entries
    trained = np.bincount(entries.labels[~choose_holdout(entries, options.holdout)])
    answers = answer_held_out(options.data, options.model, options.holdout, options.precision)
    print(f"{len(answers.labels)} images, {options.precision}\n")
    print("| power | mean divided: over images | over classes | each view divided: over images | over classes |")
    print("|---|---|---|---|---|")
    for power in POWERS:
        after = divide(answers.mean, trained, power)
        before = divide(answers.views, trained, power).mean(1)
        errors = [error for found in (after, before) for error in measure_errors(found, answers.labels)]
        print(f"| {power:g} | {' | '.join(f'{100 * error:.2f}' for error in errors)} |")


def answer_held_out(data: Path, model: Path, holdout: float, precision: str) -> Answers:
    """The answers of a model on the CPU to a share of each class of a data set."""
    with open_classifier(model, EngineOptions("cpu", precision=precision)) as classifier:
        return collect_answers(plan_calibration(open_source(data, training=False), classifier, holdout), classifier)


def divide(probabilities: np.ndarray, trained: np.ndarray, power: float) -> np.ndarray:
    """Divide probabilities [...,C] by the classes' shares of `trained` images to a power; they add up to 1 again."""
    divided = probabilities / (trained / trained.sum()) ** power
    return np.asarray(divided / divided.sum(-1, keepdims=True))


def measure_errors(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Top-1 error of [n,C] over images, and as a mean over the classes that have images."""
    hits = probabilities.argmax(1)[:, None] == labels[:, None]
    return ErrorCounts.from_hits(hits).top1_error, ClassCounts.from_hits(hits, labels).mean_error().top1_error


if __name__ == "__main__":
    main()
