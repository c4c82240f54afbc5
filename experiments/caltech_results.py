"""What the folds of experiments/caltech.py came to: tables in Markdown, and a picture.

python -m experiments.caltech_results RUNS/* [--base source145] [--picture docs/caltech.png]

Each row is what folds and seeds of one recipe and schedule have in common. With `--base` also how far the top-1 errors of the other
recipes are from those of that one, at the same fold and seed.
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
Key = tuple[str, int, str]  # recipe, training images a class, what else was set


def main() -> None:
    """Read result.json of every run; print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", type=Path, nargs="+", help="folders that bench.caltech wrote; those without a result are left out"
    )
    parser.add_argument("--base", help="a recipe; the others are compared with it")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    results = [json.loads(path.read_text()) for run in options.runs if (path := run / "result.json").is_file()]
    rows = grouped(results)
    print("\n".join(table(rows)))
    if options.base:
        print("\n" + "\n".join(compared(rows, options.base)))
    if options.picture:
        draw(rows, options.picture)


def grouped(results: Sequence[Result]) -> dict[Key, list[Result]]:
    """Runs that differ in fold or seed alone."""
    rows = defaultdict(list)
    for result in results:
        others = " ".join(pair for pair in result["set"] if not pair.startswith("seed="))
        rows[result["recipe"], result["each"], others].append(result)
    return rows


def table(rows: Mapping[Key, Sequence[Result]]) -> list[str]:
    """Accuracies in percent: the mean, and from the lowest to the highest where there are several runs."""
    lines = [
        f"| recipe | images a class | runs | {' | '.join(COLUMNS)} | epochs | minutes a run |",
        "|---" * (len(COLUMNS) + 5) + "|",
    ]
    for (recipe, each, others), runs in rows.items():
        cells = [
            spread([100 * run[views][figure] for run in runs if run[views][figure] is not None])
            for views, figure in COLUMNS.values()
        ]
        ends = [spread([run["epochs"] for run in runs], 0), spread([run["training_seconds"] / 60 for run in runs], 0)]
        lines.append(f"| {' | '.join([f'{recipe} {others}'.strip(), str(each), str(len(runs)), *cells, *ends])} |")
    return lines


def spread(values: Sequence[float], digits: int = 1) -> str:
    """ "51.2 (50.1 to 52.0)"; a dash where nothing was measured."""
    if not values:
        return "-"
    low, mean, high = (f"{figure(values):.{digits}f}" for figure in (min, statistics.fmean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def compared(rows: Mapping[Key, Sequence[Result]], base: str) -> list[str]:
    """Top-1 errors less the base's at the same fold and seed, in percentage points: each pair, and what the 2012 nets logged."""
    lines = [
        f"| recipe | images a class | center, less {base} | ten views, less {base} | ten views in 2012 (ILSVRC-2012 validation) |",
        "|---" * 5 + "|",
    ]
    for (recipe, each, others), runs in rows.items():
        bases = {draw_of(run): run for run in rows.get((base, each, others), [])}
        if recipe == base or not bases:
            continue
        cells = []
        for views in ("center", "ten_crop"):
            found = [
                100 * (bases[draw_of(run)][views]["top1"] - run[views]["top1"]) for run in runs if draw_of(run) in bases
            ]
            cells.append(", ".join(f"{difference:+.1f}" for difference in found))
        logged = logged_top1(recipe)
        past = "not logged" if logged is None else f"{logged - (logged_top1(base) or 0):+.1f}"
        lines.append(f"| {' | '.join([recipe, str(each), *cells, past])} |")
    return lines


def draw_of(run: Result) -> tuple[int, str]:
    """What a run's data and weights were drawn by: its fold and its seed."""
    seeds = [pair for pair in run["set"] if pair.startswith("seed=")]
    return run["fold"], "".join(seeds)


def logged_top1(recipe: str) -> float | None:
    """The ten-view top-1 error, in percent, of the 2012 net that a recipe names."""
    return next((e.top1 for e in load(recipe).expect if "2012" in e.data and e.views == "ten_crop"), None)


def draw(rows: Mapping[Key, Sequence[Result]], picture: Path) -> None:
    """One line a row, one dot a run: center crop hollow, ten views full; a grey bar where the published net stands."""
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
    names = [f"{recipe}, {each} a class" for recipe, each, _ in rows]
    axes.set(yticks=range(len(rows)), yticklabels=names, xlabel="mean per-class accuracy, %", xlim=(0, None))
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
