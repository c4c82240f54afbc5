"""Prints the results of experiments/caltech.py as Markdown tables, and draws them.

python -m experiments.caltech_results RUNS/* [--base source145] [--picture docs/caltech.png]

Each row of the table covers all folds and seeds of one recipe and schedule. `--base` adds a table of the top-1 errors
of the other recipes minus those of the base, at the same fold and seed.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tencrop.training.recipe import load

PUBLISHED = {
    15: 22.8,
    30: 46.5,
}  # mean per-class accuracy by images a class: Zeiler & Fergus 2013, table 4, "non-pretrained"
COLUMNS = {
    "center": ("center", "per_class"),
    "ten views": ("ten_crop", "per_class"),
    "ten views, classes with >= 10 test images": ("ten_crop", "per_class_with_enough"),
    "top-1, ten views": ("ten_crop", "top1"),
    "top-5, ten views": ("ten_crop", "top5"),
}

Result = Mapping[str, Any]
Key = tuple[str, int, str]  # recipe, training images per class, other settings


def main() -> None:
    """Read result.json of every run; print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="folders that experiments.caltech wrote; those without a result.json are left out",
    )
    parser.add_argument("--base", help="a recipe to compare the others with")
    parser.add_argument("--picture", type=Path, help="where to draw the table, as PNG")
    options = parser.parse_args()
    results = [json.loads(path.read_text()) for run in options.runs if (path := run / "result.json").is_file()]
    rows = group_runs(results)
    print("\n".join(accuracy_table(rows)))
    if options.base:
        print("\n" + "\n".join(difference_table(rows, options.base)))
    if options.picture:
        draw(rows, options.picture)


def group_runs(results: Sequence[Result]) -> dict[Key, list[Result]]:
    """Group the runs that differ only in fold or seed."""
    rows = defaultdict(list)
    for result in results:
        others = " ".join(pair for pair in result["set"] if not pair.startswith("seed="))
        rows[result["recipe"], result["each"], others].append(result)
    return rows


def accuracy_table(rows: Mapping[Key, Sequence[Result]]) -> list[str]:
    """Accuracies in percent: the mean, with the lowest and the highest where runs differ."""
    lines = [
        f"| recipe | images per class | runs | {' | '.join(COLUMNS)} | epochs | minutes per run |",
        "|---" * (len(COLUMNS) + 5) + "|",
    ]
    for (recipe, each, others), runs in rows.items():
        cells = [
            mean_and_range([100 * run[views][figure] for run in runs if run[views][figure] is not None])
            for views, figure in COLUMNS.values()
        ]
        ends = [
            mean_and_range([run["epochs"] for run in runs], 0),
            mean_and_range([run["training_seconds"] / 60 for run in runs], 0),
        ]
        lines.append(f"| {' | '.join([f'{recipe} {others}'.strip(), str(each), str(len(runs)), *cells, *ends])} |")
    return lines


def mean_and_range(values: Sequence[float], digits: int = 1) -> str:
    """For example "51.2 (50.1 to 52.0)"; a dash without values."""
    if not values:
        return "-"
    low, mean, high = (f"{figure(values):.{digits}f}" for figure in (min, statistics.fmean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def difference_table(rows: Mapping[Key, Sequence[Result]], base: str) -> list[str]:
    """Top-1 errors minus those of the base at the same fold and seed, in points, and that of the 2012 logs."""
    lines = [
        f"| recipe | images per class | center, minus {base} | ten views, minus {base} | "
        "ten views in 2012 (ILSVRC-2012 validation) |",
        "|---" * 5 + "|",
    ]
    for (recipe, each, others), runs in rows.items():
        bases = {fold_and_seed(run): run for run in rows.get((base, each, others), [])}
        if recipe == base or not bases:
            continue
        cells = []
        for views in ("center", "ten_crop"):
            found = [
                100 * (bases[fold_and_seed(run)][views]["top1"] - run[views]["top1"])
                for run in runs
                if fold_and_seed(run) in bases
            ]
            cells.append(", ".join(f"{difference:+.1f}" for difference in found))
        logged = logged_top1(recipe)
        past = "not logged" if logged is None else f"{logged - (logged_top1(base) or 0):+.1f}"
        lines.append(f"| {' | '.join([recipe, str(each), *cells, past])} |")
    return lines


def fold_and_seed(run: Result) -> tuple[int, str]:
    """The fold and the seed of a run; they determine its data and first weights."""
    seeds = [pair for pair in run["set"] if pair.startswith("seed=")]
    return run["fold"], "".join(seeds)


def logged_top1(recipe: str) -> float | None:
    """The ten-view top-1 error, in percent, that the 2012 program logged for a recipe's net on ILSVRC-2012."""
    return next((e.top1 for e in load(recipe).expect if "2012" in e.data and e.views == "ten_crop"), None)


def draw(rows: Mapping[Key, Sequence[Result]], picture: Path) -> None:
    """Draw a line per row, a dot per run (hollow: center crop, full: ten views), a grey bar for the published net."""
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(rows)), dpi=120)
    axes = figure.subplots()
    for line, ((_, each, _), runs) in enumerate(rows.items()):
        for views, fill in (("center", "none"), ("ten_crop", "C0")):
            accuracies = [100 * run[views]["per_class"] for run in runs]
            axes.plot(
                accuracies,
                [line] * len(runs),
                "o",
                color="C0",
                markerfacecolor=fill,
                label=views.replace("_", " ") if not line else None,
            )
        if each in PUBLISHED:
            axes.plot(
                [PUBLISHED[each]] * 2,
                [line - 0.4, line + 0.4],
                color="0.5",
                label="Zeiler & Fergus 2013" if not line else None,
            )
    names = [f"{recipe}, {each} per class" for recipe, each, _ in rows]
    axes.set(yticks=range(len(rows)), yticklabels=names, xlabel="mean per-class accuracy, %", xlim=(0, None))
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
