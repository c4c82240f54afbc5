"""Prints the results of experiments/transfer.py as a Markdown table, and draws them.

python -m experiments.transfer_results RUNS/draw* [--picture docs/transfer.png]

Accuracies are means over the 20 new classes with ten views, in percent; each row covers all draws.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.caltech_results import mean_and_range

Result = Mapping[str, Any]
Rows = Mapping[tuple[str, int], Sequence[Result]]  # by method and training images per class


def main() -> None:
    """Read result.json of every run; print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draws", type=Path, nargs="+", help="folders that experiments.transfer wrote")
    parser.add_argument("--picture", type=Path, help="where to draw the table, as PNG")
    options = parser.parse_args()
    rows = group_runs(read_results(options.draws))
    print("\n".join(accuracy_table(rows)))
    if options.picture:
        draw(rows, options.picture)


def read_results(draws: Sequence[Path]) -> list[Result]:
    """The results of all finished runs but those that chose a schedule."""
    results = [json.loads(path.read_text()) for folder in draws for path in sorted(folder.glob("*/result.json"))]
    return [result for result in results if not result["choose"]]


def group_runs(results: Sequence[Result]) -> Rows:
    """Group the runs that differ only in the draw."""
    rows = defaultdict(list)
    for result in results:
        rows[result["method"], result["each"]].append(result)
    return rows


def accuracy_table(rows: Rows) -> list[str]:
    """A line for each number of images: each method's accuracy and minutes, the mean with the lowest and highest."""
    methods = sorted({method for method, _ in rows})
    head = [cell for method in methods for cell in (method, "minutes")]
    lines = [f"| images per class | draws | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    for each in sorted({each for _, each in rows}):
        runs = [rows.get((method, each), []) for method in methods]
        cells = [cell for found in runs for cell in (accuracy(found), minutes(found))]
        lines.append(f"| {each} | {max(map(len, runs))} | {' | '.join(cells)} |")
    return lines


def accuracy(runs: Sequence[Result]) -> str:
    """Mean over classes with ten views, in percent."""
    return mean_and_range([100 * run["ten_crop"]["per_class"] for run in runs])


def minutes(runs: Sequence[Result]) -> str:
    """Minutes of the training."""
    return mean_and_range([run["training_seconds"] / 60 for run in runs])


def draw(rows: Rows, picture: Path) -> None:
    """Draw a line per method through the means, and a dot per draw."""
    figure = Figure(figsize=(7, 4), dpi=120)
    axes = figure.subplots()
    for color, method in enumerate(sorted({method for method, _ in rows})):
        found = {
            each: [100 * run["ten_crop"]["per_class"] for run in runs]
            for (m, each), runs in rows.items()
            if m == method
        }
        counts = sorted(found)
        axes.plot(counts, [sum(found[each]) / len(found[each]) for each in counts], color=f"C{color}", label=method)
        for each in counts:
            axes.plot([each] * len(found[each]), found[each], "o", color=f"C{color}")
    axes.set(xlabel="training images per class", ylabel="mean per-class accuracy, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
