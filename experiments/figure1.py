"""Repeats the paper's figure 1 on your data: epochs to 25 % training error, ReLU and tanh, each at its best rate.

python -m experiments.figure1 --data PREPARED --out RUNS [--picture docs/figure1.png]
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from tencrop.common.errors import WorkFailed
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.run_progress import EpochRecord
from tencrop.training.recipe import load
from tencrop.training.train import train

RATES = {
    "relu": (0.001, 0.003, 0.01, 0.03),
    "tanh": (0.001, 0.003, 0.01, 0.03, 0.1),
}  # for weights and biases alike; the best rate of each lies inside its range
GOAL = load("figure1_relu").until_train_error
COLOURS = {"relu": "C0", "tanh": "C1"}

History = list[EpochRecord]


def main() -> None:
    """Train each activation at each rate; print a table and draw the curves of the best rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared data set")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of the run folders; finished runs are not repeated"
    )
    parser.add_argument("--picture", type=Path, default=Path("figure1.png"), help="where to draw the figure")
    options = parser.parse_args()
    prepared = PreparedStore.open(options.data)
    runs = {name: sweep(name, rates, prepared, options.out) for name, rates in RATES.items()}
    best = {name: min(histories, key=lambda rate: score(histories[rate])) for name, histories in runs.items()}
    for name, histories in runs.items():
        for rate, history in histories.items():
            chosen = "  <- chosen" if rate == best[name] else ""
            result = "the loss was not a number"
            if history:
                result = f"{len(history):>3} epochs, training error {history[-1].train_error:.1%}"
            print(f"{name:<5} lr {rate:<6} {result}{chosen}")
    draw({name: (best[name], runs[name][best[name]]) for name in runs}, options.picture)


def sweep(name: str, rates: tuple[float, ...], prepared: PreparedStore, out: Path) -> dict[float, History]:
    """The history of each rate. A rate gets no more epochs than the fastest one before it."""
    found: dict[float, History] = {}
    recipe = load(f"figure1_{name}")
    for rate in rates:
        reached = [len(history) for history in found.values() if history and history[-1].train_error <= GOAL]
        optim = dataclasses.replace(recipe.optim, lr=rate, bias_lr=rate)
        plan = dataclasses.replace(recipe, optim=optim, epochs=min([recipe.epochs, *reached]))
        try:
            found[rate] = train(plan, prepared, out / f"{name}-{rate}", True, 1, print_epoch)
        except WorkFailed as error:
            print(f"  {error}")
            found[rate] = []
    return found


def score(history: History) -> tuple[float, int, float]:
    """Sort key, lower is better: the training error (GOAL where it is below), then the epochs, then the error."""
    error = history[-1].train_error if history else 1.0
    return max(error, GOAL), len(history), error


def print_epoch(epoch: int, share: float, shown: Mapping[str, float]) -> None:
    """Print a line at the end of each epoch."""
    if share == 1:
        print(f"  epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s", flush=True)


def draw(chosen: Mapping[str, tuple[float, History]], picture: Path) -> None:
    """Draw the training error by epoch like the paper's figure 1: a solid line for ReLU, a dashed line for tanh."""
    figure = Figure(figsize=(6, 4), dpi=120)
    axes = figure.subplots()
    for name, (rate, history) in chosen.items():
        errors = [record.train_error for record in history]
        style = "-" if name == "relu" else "--"
        axes.plot(range(1, len(errors) + 1), errors, style, color=COLOURS[name], label=f"{name}, learning rate {rate}")
    axes.axhline(GOAL, color="0.5", linewidth=0.8)
    axes.set(xlabel="epochs", ylabel="training error", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
