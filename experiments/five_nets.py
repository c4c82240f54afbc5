"""Trains nets that differ in their seed alone, and measures the mean of their answers: the paper averages five.

python -m experiments.five_nets caltech101 --out runs/five [--nets 5] [--epochs 16] [--holdout 0.15] [--precision fp32]

Net N has the seed N. OUT/net-N/answers.npz has its answers to the held-out images, the means over ten views. A net with
answers is not trained again, so the nets may come from several machines. Repeat the same command to resume. Errors are
over images and as a mean over classes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.caltech import print_epoch, run_to_end
from experiments.rare_classes import answer_held_out, measure_errors
from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.export.run import export
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training.recipe import load
from tencrop.training.train import train


def main() -> None:
    """Read the command line, train what is left to train and print the errors; an error or a stop is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with a folder per class")
    parser.add_argument("--out", type=Path, required=True, help="the folder of all nets")
    parser.add_argument("--nets", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=16, help="of a net, by the schedule of the recipe caltech101")
    parser.add_argument("--holdout", type=float, default=0.15, help="share of each class to measure on")
    parser.add_argument("--precision", default="fp32", help="of the evaluation, as for `tencrop evaluate`")
    run_to_end(run_nets, parser.parse_args())


def run_nets(options: argparse.Namespace) -> None:
    """Train the nets and save their answers, one net after the other; then print the errors."""
    prepared = options.out / "prepared"
    answers, labels = [], np.empty(0)
    for seed in range(options.nets):
        net = options.out / f"net-{seed}"
        if not (net / "answers.npz").is_file():
            prepare(open_source(options.data, training=True), prepared, options.holdout, lambda done: None)
            recipe = load("caltech101", [f"epochs={options.epochs}", f"seed={seed}"])
            train(recipe, PreparedStore.open(prepared), net / "run", True, None, print_epoch)
            export(list_checkpoints(net / "run")[-1], net / "export", "fp32", 0, None)
            found = answer_held_out(options.data, net / "export", options.holdout, options.precision)
            np.savez_compressed(net / "answers.npz", mean=found.mean, labels=found.labels)
        with np.load(net / "answers.npz") as saved:
            if len(labels) and not np.array_equal(saved["labels"], labels):
                raise BadInput(f"{net}: its answers are to other images than those of net-0")
            labels = saved["labels"]
            answers.append(saved["mean"])
    print("\n".join(error_table(answers, labels)))


def error_table(answers: Sequence[np.ndarray], labels: np.ndarray) -> list[str]:
    """A line for each number of nets: the last one alone, and the mean of it and those before it; in percent."""
    lines = ["| nets | the last one alone: over images | over classes | mean of all: over images | over classes |"]
    lines.append("|---|---|---|---|---|")
    for count in range(1, len(answers) + 1):
        alone, together = (measure_errors(each, labels) for each in (answers[count - 1], np.mean(answers[:count], 0)))
        lines.append(f"| {count} | {' | '.join(f'{100 * error:.2f}' for error in (*alone, *together))} |")
    return lines


if __name__ == "__main__":
    main()
