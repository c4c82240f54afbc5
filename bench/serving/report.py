"""Renders the measurements as Markdown: the rows as shipped, like for like, and under overload."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.serving.client import P99_ANSWERS
from bench.serving.rows import CLIENTS, COMPARED, FORMS, RATES, ROWS, Block

SLOWER = 2.0  # goal: p99 of admitted requests at the highest rate, over p99 at capacity, is below this
REFUSED_MS = 50.0  # goal: p99 of a 429

P99_NOTE = f"A p99 needs {P99_ANSWERS} answers."

Round = Mapping[str, Any]


def render_report(result: Mapping[str, Any]) -> str:
    """The whole report."""
    rounds = result["rounds"]
    head = f"{result['machine']}; {result['photographs']}; at least {result['seconds']:g} s each, rounds: {len(rounds)}"
    blocks = [render_block(title, block, rounds) for title, block in FORMS[result["form"]].items()]
    return "\n\n".join([head, *filter(None, blocks), *render_overload(rounds[-1]), generator_share(rounds)])


def was_measured(rounds: Sequence[Round], name: str) -> bool:
    """Return whether the row was measured."""
    return name in rounds[0]


def ran(rounds: Sequence[Round], name: str) -> bool:
    """Return whether the row ran in every round."""
    return all("clients" in each.get(name, {}) for each in rounds)


def render_block(title: str, block: Block, rounds: Sequence[Round]) -> str:
    """E, d and L, a table of rows, and the ratios of our row to the others; empty without a row of ours."""
    names = [name for name in block.names if was_measured(rounds, name)]
    ours = next((name for name in names if ROWS[name].precision), None)
    if ours is None:
        return ""
    e, d, limit = (statistics.median(each[ours][key] for each in rounds) for key in "edl")
    limits = f"E {e:.1f} images/s (engine alone), d {1000 * d:.2f} ms (decode and resize, on one core)"
    table = [
        *table_header(
            "row", "", *(f"{clients} clients" for clients in CLIENTS), "p50", "p99", "answers", "MiB", "ours / row"
        )
    ]
    table += [table_row(name, ours, rounds) for name in names]
    ratios = [ratio_to_limit(ours, rounds, block.of_limit)] + [
        format_ratio(f"{ours} / {name}", round_ratios(ours, name, rounds), block.goals.get(name))
        for name in names
        if name != ours and ran(rounds, name)
    ]
    notes = (
        f"images/s by number of closed-loop clients. p50, p99 (ms), the answers in a round that they are of and "
        f"`ours / row` are at {COMPARED} clients; MiB is the peak over all loads. {P99_NOTE}"
    )
    return "\n".join(
        [
            f"## {title}",
            "",
            f"{limits}, L {limit:.1f} images/s.",
            "",
            *table,
            "",
            notes,
            "",
            *(f"- {line}" for line in ratios),
        ]
    )


def table_header(*cells: str) -> list[str]:
    """The head of a table and the line below it."""
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def table_row(name: str, ours: str, rounds: Sequence[Round]) -> str:
    """A row of medians over the rounds, or the reason why the server did not run."""
    about = [name, ROWS[name].about]
    if not ran(rounds, name):
        why = next(failed for each in rounds if (failed := each[name].get("failed")))
        return f"| {' | '.join([*about, f'does not run here: {why}', *[''] * (len(CLIENTS) + 4)])} |"
    cells = [f"{statistics.median(speeds(rounds, name, clients)):.1f}" for clients in CLIENTS]
    compared = [each[name]["clients"][str(COMPARED)] for each in rounds]
    times = [format_ms([figures[key] for figures in compared]) for key in ("p50", "p99")]
    answers = min(figures["good"] for figures in compared)
    peak = max(
        figures["resident_mib"]
        for each in rounds
        for kind in ("clients", "rates")
        for figures in each[name][kind].values()
    )
    faster = statistics.median(round_ratios(ours, name, rounds))
    return f"| {' | '.join([*about, *cells, *times, f'{answers}', f'{peak:.0f}', f'{faster:.2f} x'])} |"


def format_ms(times: Sequence[float]) -> str:
    """The median of one time in each round, in ms; empty where a round had too few answers for it."""
    return "" if any(map(math.isnan, times)) else f"{statistics.median(times):.0f}"


def speeds(rounds: Sequence[Round], name: str, clients: int = COMPARED) -> list[float]:
    """images/s in each round."""
    return [each[name]["clients"][str(clients)]["images_per_s"] for each in rounds]


def round_ratios(ours: str, name: str, rounds: Sequence[Round]) -> list[float]:
    """Our speed over the row's, in each round."""
    return [a / b if b else float("inf") for a, b in zip(speeds(rounds, ours), speeds(rounds, name), strict=True)]


def ratio_to_limit(ours: str, rounds: Sequence[Round], goal: float | None) -> str:
    """Format the line with the ratio of our speed to L."""
    each = [a / b for a, b in zip(speeds(rounds, ours), (each[ours]["l"] for each in rounds), strict=True)]
    return format_ratio(f"{ours} / L", each, goal)


def format_ratio(name: str, each: Sequence[float], goal: float | None) -> str:
    """The median of a ratio, its value in each round, and its goal."""
    aim = "" if goal is None else f"; goal: {goal:g}"
    return f"{name}: {statistics.median(each):.2f} (each round: {', '.join(f'{value:.2f}' for value in each)}){aim}"


def render_overload(last: Round) -> Iterable[str]:
    """The open loops of all rows that had them, and our own goals under overload."""
    rows = {name: row["rates"] for name, row in last.items() if row.get("rates")}
    if not rows:
        return
    table = table_header(
        "row", "offered", "requests/s", "images/s", "p50", "p99", "answers", "429", "429: p99", "other or none", "MiB"
    )
    table += [
        rate_row(name, times, last[name]["capacity"], rates[f"{times:g}"])
        for name, rates in rows.items()
        for times in RATES
    ]
    notes = "Offered: multiples of the row's own capacity. Times are in ms from when a request was due."
    notes += f" None: no answer 10 s after the end. {P99_NOTE}"
    lines = [f"- {line}" for line in (overload_lines(last["ours"]) if "ours" in rows else ())]
    yield "\n".join(["## Open loop", "", *table, "", notes, "", *lines])


def rate_row(name: str, times: float, capacity: float, figures: Mapping[str, float]) -> str:
    """The table row of one server at one rate."""
    cells = [
        name,
        f"{times:g} x",
        f"{times * capacity:.1f}",
        f"{figures['images_per_s']:.1f}",
        format_ms([figures["p50"]]),
        format_ms([figures["p99"]]),
        f"{figures['good']}",
        f"{figures['refused']}",
        format_ms([figures["refused_p99"]]),
        f"{figures['failed']}",
        f"{figures['resident_mib']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def overload_lines(row: Mapping[str, Any]) -> list[str]:
    """Lines about our server at the highest rate, each with its goal."""
    rates, full = row["rates"], row["clients"][str(CLIENTS[-1])]
    calm, most = rates["1"], rates[f"{RATES[-1]:g}"]
    more = most["resident_mib"] - calm["resident_mib"]
    return [
        f"p99 of admitted requests at {RATES[-1]:g} x over p99 at capacity, {CLIENTS[-1]} clients: "
        f"{format_number(most['p99'] / full['p99'], '.2f')}; goal: below {SLOWER:g}",
        f"the same over p99 at capacity with random arrivals: {format_number(most['p99'] / calm['p99'], '.2f')}",
        f"p99 of 429s, in ms: {format_number(most['refused_p99'], '.0f')}; goal: at most {REFUSED_MS:g}",
        f"resident memory at {RATES[-1]:g} x minus at capacity: {more:+.0f} MiB; goal: no growth",
    ]


def format_number(value: float, form: str) -> str:
    """A number, or why there is none."""
    return "too few answers" if math.isnan(value) else format(value, form)


def generator_share(rounds: Sequence[Round]) -> str:
    """The largest share of a core that the load generator used."""
    loads = [(figures["client_core"], name, kind, number) for name, kind, number, figures in each_load(rounds)]
    core, name, kind, number = max(loads, default=(0.0, "", "", ""))
    return f"The load generator shares the cores: at most {100 * core:.1f} % of one ({name}, {kind} {number})."


def each_load(rounds: Sequence[Round]) -> Iterable[tuple[str, str, str, Mapping[str, float]]]:
    """Row, kind, number and figures of every load."""
    for each in rounds:
        for name, row in each.items():
            for kind in ("clients", "rates"):
                for number, figures in row.get(kind, {}).items():
                    yield name, kind, number, figures
