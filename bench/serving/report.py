"""Report: the measurements as Markdown: a block as shipped, one like for like, one of overload."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.serving.rows import BLOCKS, CLIENTS, COMPARED, GOAL_OF_MOST, GOALS, RATES, ROWS

SLOWER = 2.0  # times the p99 at capacity, that of what is admitted at the highest rate is to be less
REFUSED_MS = 50.0  # that a 429 may take, its p99

Round = Mapping[str, Any]


def report(result: Mapping[str, Any]) -> str:
    """All of it."""
    rounds = result["rounds"]
    head = f"{result['machine']}; {result['photographs']}; {result['seconds']:g} s each, rounds: {len(rounds)}"
    blocks = [
        block(title, [name for name in names if measured(rounds, name)], rounds) for title, names in BLOCKS.items()
    ]
    return "\n\n".join([head, *filter(None, blocks), *overload(rounds[-1]), share(rounds)])


def measured(rounds: Sequence[Round], name: str) -> bool:
    """Whether the row was asked for."""
    return name in rounds[0]


def runs(rounds: Sequence[Round], name: str) -> bool:
    """Whether it ran, in each round."""
    return all("clients" in each.get(name, {}) for each in rounds)


def block(title: str, names: Sequence[str], rounds: Sequence[Round]) -> str:
    """What the machine can give, a table of rows, and the ratios of the block's first row to the others; empty without that row."""
    ours = next((name for name in names if ROWS[name].precision), None)
    if ours is None:
        return ""
    e, d, limit = (statistics.median(each[ours][key] for each in rounds) for key in "edl")
    alone = f"E {e:.1f} images/s (the engine alone), d {1000 * d:.2f} ms (decode and resize, of a core), L {limit:.1f} images/s"
    table = [*header("row", "", *(f"{clients} clients" for clients in CLIENTS), "p50", "p99", "MiB", "ours is")]
    table += [table_row(name, ours, rounds) for name in names]
    ratios = [of_most(ours, rounds)] + [
        ratio(ours, name, rounds) for name in names if name != ours and runs(rounds, name)
    ]
    notes = (
        f'images/s by closed-loop clients; p50 and p99 in ms and "ours is" at {COMPARED}; MiB: at most, over all loads'
    )
    return "\n".join(
        [f"## {title}", "", f"{alone}.", "", *table, "", f"{notes}.", "", *(f"- {line}" for line in ratios)]
    )


def header(*cells: str) -> list[str]:
    """Of a table."""
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def table_row(name: str, ours: str, rounds: Sequence[Round]) -> str:
    """Medians over the rounds; the reason where it did not run."""
    about = [name, ROWS[name].about]
    if not runs(rounds, name):
        why = next(failed for each in rounds if (failed := each[name].get("failed")))
        return f"| {' | '.join([*about, f'does not run here: {why}', *[''] * (len(CLIENTS) + 3)])} |"
    speeds = [f"{statistics.median(speed(rounds, name, clients)):.1f}" for clients in CLIENTS]
    times = [
        f"{statistics.median(each[name]['clients'][str(COMPARED)][key] for each in rounds):.0f}"
        for key in ("p50", "p99")
    ]
    most = max(
        figures["resident_mib"]
        for each in rounds
        for kind in ("clients", "rates")
        for figures in each[name][kind].values()
    )
    return f"| {' | '.join([*about, *speeds, *times, f'{most:.0f}', f'{statistics.median(times_faster(ours, name, rounds)):.2f} x'])} |"


def speed(rounds: Sequence[Round], name: str, clients: int = COMPARED) -> list[float]:
    """images/s of each round."""
    return [each[name]["clients"][str(clients)]["images_per_s"] for each in rounds]


def times_faster(ours: str, name: str, rounds: Sequence[Round]) -> list[float]:
    """Of each round."""
    return [a / b if b else float("inf") for a, b in zip(speed(rounds, ours), speed(rounds, name), strict=True)]


def ratio(ours: str, name: str, rounds: Sequence[Round]) -> str:
    """A line; the goal is of the block as shipped."""
    goal = GOALS.get(name) if ours == "ours" else None
    return stated(f"{ours} / {name}", times_faster(ours, name, rounds), goal)


def of_most(ours: str, rounds: Sequence[Round]) -> str:
    """ours / L, a line."""
    each = [a / b for a, b in zip(speed(rounds, ours), (each[ours]["l"] for each in rounds), strict=True)]
    return stated(f"{ours} / L", each, GOAL_OF_MOST if ours == "ours" else None)


def stated(what: str, each: Sequence[float], goal: float | None) -> str:
    """A ratio: the median, every round's, what it is to be."""
    reach = "" if goal is None else f"; to reach: {goal:g}"
    return f"{what}: {statistics.median(each):.2f} (each round: {', '.join(f'{value:.2f}' for value in each)}){reach}"


def overload(last: Round) -> Iterable[str]:
    """The open loops of the rows that had them, and what ours is to keep."""
    rows = {name: row["rates"] for name, row in last.items() if row.get("rates")}
    if not rows:
        return
    table = header("row", "offered", "requests/s", "images/s", "p50", "p99", "429", "429: p99", "other or none", "MiB")
    table += [
        rate_row(name, times, last[name]["capacity"], rates[f"{times:g}"])
        for name, rates in rows.items()
        for times in RATES
    ]
    notes = "Offered: times the row's own capacity. Times in ms, from when a request was due; none: not answered 10 s behind the end."
    lines = [f"- {line}" for line in (kept(last["ours"]) if "ours" in rows else ())]
    yield "\n".join(["## Open loop", "", *table, "", notes, "", *lines])


def rate_row(name: str, times: float, capacity: float, figures: Mapping[str, float]) -> str:
    """One rate of one row."""
    refused = f"{figures['refused_p99']:.0f}" if figures["refused"] else ""
    numbers = [
        f"{times * capacity:.1f}",
        *(f"{figures[key]:.{digits}f}" for key, digits in (("images_per_s", 1), ("p50", 0), ("p99", 0))),
    ]
    more = [f"{figures['refused']}", refused, f"{figures['failed']}", f"{figures['resident_mib']:.0f}"]
    return f"| {' | '.join([name, f'{times:g} x', *numbers, *more])} |"


def kept(row: Mapping[str, Any]) -> list[str]:
    """How ours bears the highest rate."""
    rates, full = row["rates"], row["clients"][str(CLIENTS[-1])]
    calm, most = rates["1"], rates[f"{RATES[-1]:g}"]
    more = most["resident_mib"] - calm["resident_mib"]
    return [
        f"p99 of what is admitted at {RATES[-1]:g} x over p99 at capacity, {CLIENTS[-1]} clients: {most['p99'] / full['p99']:.2f}; "
        f"to be below: {SLOWER:g}",
        f"the same over p99 at capacity, arriving at random: {most['p99'] / calm['p99']:.2f}",
        f"429 within (p99): {most['refused_p99']:.0f} ms; to be within: {REFUSED_MS:g} ms",
        f"resident memory at {RATES[-1]:g} x minus at capacity: {more:+.0f} MiB; to be flat",
    ]


def share(rounds: Sequence[Round]) -> str:
    """What the load generator took away."""
    loads = [(figures["client_core"], name, kind, number) for name, kind, number, figures in each_load(rounds)]
    core, name, kind, number = max(loads, default=(0.0, "", "", ""))
    return f"The load generator shares the cores: at most {100 * core:.1f} % of one ({name}, {kind} {number})."


def each_load(rounds: Sequence[Round]) -> Iterable[tuple[str, str, str, Mapping[str, float]]]:
    """Row, kind, number, figures."""
    for each in rounds:
        for name, row in each.items():
            for kind in ("clients", "rates"):
                for number, figures in row.get(kind, {}).items():
                    yield name, kind, number, figures
