"""Draws images/s of the rows beside L, and how long the clients of an overloaded server wait."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.serving.report import ran, speeds
from bench.serving.rows import COMPARED, FORMS, RATES, ROWS

OURS, THEIRS = "#1f5fa8", "#b8bec6"


def draw(result: Mapping[str, Any], file: Path) -> None:
    """Write the PNG."""
    figure = Figure(figsize=(13, 3.6))
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    for axis, (title, block) in zip(axes, FORMS[result["form"]].items(), strict=False):
        draw_bars(axis, title, [name for name in block.names if ran(result["rounds"], name)], result["rounds"])
    draw_waits(axes[2], {name: row["rates"] for name, row in result["rounds"][-1].items() if row.get("rates")})
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def draw_bars(axis: Any, title: str, names: list[str], rounds: list[Any]) -> None:
    """Draw images/s at COMPARED clients as bars, and L as a line."""
    middle = [statistics.median(speeds(rounds, name)) for name in names]
    drawn = axis.barh(names, middle, color=[OURS if name.startswith("ours") else THEIRS for name in names])
    axis.bar_label(drawn, [f"{value:.1f}" for value in middle], padding=3)
    for name in filter(lambda name: ROWS[name].precision, names):
        limit = statistics.median(each[name]["l"] for each in rounds)
        axis.axvline(limit, color="black", linestyle=":")
        axis.text(limit, -0.5, "L ", ha="right", va="center")
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set(title=title, xlabel=f"images/s, {COMPARED} clients")
    axis.spines[["top", "right"]].set_visible(False)


def draw_waits(axis: Any, rows: Mapping[str, Any]) -> None:
    """Draw the median of the admitted requests over the offered rate."""
    for name, rates in rows.items():
        times = [rates[f"{rate:g}"]["p50"] / 1000 for rate in RATES]
        axis.plot(RATES, times, marker="o", label=name, color=OURS if name == "ours" else None)
    axis.set(
        title="Open loop",
        xlabel="offered load / capacity",
        ylabel="median of admitted requests, s",
        yscale="log",
        xscale="log",
    )
    axis.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
    if rows:
        axis.legend(frameon=False, fontsize=8)
