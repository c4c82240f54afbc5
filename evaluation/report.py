"""report.html: a validation in one file that opens anywhere. Errors, classes, confusions, and images with their five bars."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa

from tencrop.dataset.source import Entry, Source
from tencrop.evaluation.panel import panel
from tencrop.evaluation.record_queries import Predictions
from tencrop.model.contract import Label

PANEL = 8  # images shown, as in the paper's figure 4
MISTAKES = 12  # the surest
PAIRS = 15  # most confused
LISTED = 100  # undecodable images
Z = 1.96  # 95 %
CHOSEN = {"own": "the data set's own for validation", "all": "all of the data set"}
VIEWS = {"center": "center crop", "ten_crop": "ten views"}
ASSETS = Path(__file__).parent


def text_report(summary: Mapping[str, Any]) -> str:
    """A few lines for a terminal: the errors, and beside them what the recipe's net reached in 2012."""
    lines = [
        f"{summary['n']} images ({summary['undecodable']} undecodable), {summary['engine']} on {summary['device']}, {summary['precision']}"
    ]
    for kind, words in VIEWS.items():
        lines.append(
            f"{words:<12} top-1 error {summary[kind]['top1_error']:7.2%}   top-5 error {summary[kind]['top5_error']:7.2%}"
        )
    for then in summary["expect"]:
        error = f"top-1 error {then['top1']:6.2f}%   top-5 error {then['top5']:6.2f}%"
        lines.append(f"{VIEWS[then['views']]:<12} {error}   (this recipe's net in 2012, {then['data']})")
    return "\n".join(lines)


def html_report(
    summary: Mapping[str, Any],
    run: Mapping[str, Any],
    table: pa.Table,
    labels: Sequence[Label],
    data: Source,
    entries: Sequence[Entry],
) -> str:
    """The page; `table` as in records.SCHEMA, its rows those of `entries`. Nothing in it is fetched from anywhere."""
    answers, names = Predictions.from_table(table), _names(labels)
    mistakes = answers.surest_mistakes(MISTAKES)
    sections = {  # anchor -> heading, HTML
        "panel": (
            "Images with their five most probable labels",
            panel(answers.spread(PANEL), answers, names, data, entries),
        ),
        "mistakes": ("Surest mistakes", panel(mistakes, answers, names, data, entries) if mistakes else "<p>None.</p>"),
        "confusions": ("Most confused", _confusions(answers, names)),
        "classes": ("Classes", _classes(answers, labels)),
    }
    if summary["undecodable"]:
        sections["undecodable"] = ("Undecodable images", _undecodable(table))
    links = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, (heading, _) in sections.items())
    body = "".join(
        f'<section id="{anchor}"><h2>{heading}</h2>{html}</section>' for anchor, (heading, html) in sections.items()
    )
    title = f"{escape(summary['model']['name'])} on {escape(summary['dataset'])}"
    top = f'<section class="top"><div>{_errors(summary)}</div><div>{_run(summary, run)}</div></section>'
    header = f'<header><h1>{title}</h1><nav aria-label="Parts of this report"><ul>{links}</ul></nav></header>'
    return f'<!doctype html>\n<html lang="en"><head>{_head(title)}</head><body>{header}<main>{top}{body}</main>{_script()}</body></html>\n'


def wilson_interval(error: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error that is a fraction of n."""
    middle, spread = error + Z * Z / (2 * n), Z * sqrt(error * (1 - error) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return (middle - spread) / scale, (middle + spread) / scale


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _script() -> str:
    return f"<script>{_asset('report.js')}</script>"


def _head(title: str) -> str:
    """Its policy lets the browser run our script, by its hash, and fetch nothing."""
    ours = base64.b64encode(hashlib.sha256(_asset("report.js").encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{ours}'"
    return (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{_asset('report.css')}</style>"
    )


def _names(labels: Sequence[Label]) -> list[str]:
    """The words of each class, with its id where several have the same ones (ImageNet has two cranes)."""
    times = Counter(label.name for label in labels)
    return [label.name if times[label.name] == 1 else f"{label.name} ({label.id})" for label in labels]


def _errors(summary: Mapping[str, Any]) -> str:
    """Ours, each followed by what 2012 logged for the same kind of prediction."""
    n, rows = summary["n"], []
    for kind, words in VIEWS.items():
        ours = "".join(_measured(summary[kind][which], n) for which in ("top1_error", "top5_error"))
        rows.append(f'<tr><th scope="row">{words}</th>{ours}</tr>')
        for then in summary["expect"]:
            if then["views"] == kind:
                logged = "".join(f"<td>{then[which]:.2f}%{_range(then[which])}</td>" for which in ("top1", "top5"))
                rows.append(f'<tr class="then"><th scope="row">2012, {words}, {escape(then["data"])}</th>{logged}</tr>')
    told = f"Wrong among all {n:,} images, with 95 % intervals (Wilson). Ten views: the mean over five crops and their mirror images"
    if summary["undecodable"]:
        told += f". Undecodable images ({summary['undecodable']:,}) count as wrong"
    head = "<thead><tr><td></td><th>top-1 error</th><th>top-5 error</th></tr></thead>".replace(
        "<th>", '<th scope="col">'
    )
    return (
        f'<h2>Errors</h2><table class="errors"><caption>{told}.</caption>{head}<tbody>{"".join(rows)}</tbody></table>'
    )


def _measured(error: float, n: int) -> str:
    low, high = (
        min(max(end, 0.0), 1.0) for end in wilson_interval(error, n)
    )  # rounding may carry an end past what it cannot pass
    shown = _range(100 * error, 100 * low, 100 * high)
    return f"<td><strong>{error:.2%}</strong><small>{low:.2%} to {high:.2%}</small>{shown}</td>"


def _range(at: float, low: float | None = None, high: float | None = None) -> str:
    """A mark on a line from 0 to 100 %, in its interval."""
    low, high = at if low is None else low, at if high is None else high
    return f'<span class="range" aria-hidden="true" style="--at:{at:.2f}%;--low:{low:.2f}%;--high:{high:.2f}%"></span>'


def _which(summary: Mapping[str, Any]) -> str:
    chosen = CHOSEN.get(summary["images"]) or f"a share of {summary['images']:g} of each class, held out"
    return (
        chosen
        if summary["n"] == summary["among"]
        else f"{summary['n']:,}, evenly spread, of {summary['among']:,}: {chosen}"
    )


def _run(summary: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """What was run, where and when."""
    seconds = f"{run['seconds']:,.1f}"
    if run["images"] != summary["n"]:
        seconds += f" for {run['images']:,} images; the others were kept from an earlier go"
    facts = {
        "model": escape(summary["model"]["name"]),
        "its sha256": f"<code>{escape(summary['model']['sha256'])}</code>",
        **_members(summary["model"].get("members", ())),
        "contract sha256": f"<code>{escape(summary['contract_sha256'])}</code>",
        "engine": escape(f"{summary['engine']} on {summary['device']}, {summary['precision']}"),
        "data set": escape(summary["dataset"]),
        "which images": _which(summary),
        "images": f"{summary['n']:,}, of them {summary['undecodable']:,} undecodable",
        "seconds": seconds,
        "images/s": f"{run['images_per_s']:,.1f} on {run['cores']} cores",
        "date": f"{datetime.fromtimestamp(run['started'], UTC):%Y-%m-%d %H:%M} UTC",
    }
    return (
        f"<h2>What was run</h2><dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts.items())}</dl>"
    )


def _members(members: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The nets of an ensemble."""
    return {
        f"net {i}": f"{escape(net['name'])} <code>{escape(net['sha256'])}</code>" for i, net in enumerate(members, 1)
    }


def _confusions(answers: Predictions, names: Sequence[str]) -> str:
    images = {row.label: row.images for row in answers.classes()}
    rows = "".join(
        f'<tr><td>{escape(names[pair.label])}</td><td>{escape(names[pair.taken])}</td><td class="n">{pair.images}</td>'
        f'<td class="n">{images[pair.label]}</td></tr>'
        for pair in answers.confusions(PAIRS)
    )
    head = '<th scope="col">true class</th><th scope="col">taken for</th><th scope="col" class="n">images</th>'
    head += '<th scope="col" class="n">of its images</th>'
    return (
        f'<table class="confusions"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        if rows
        else "<p>None.</p>"
    )


def _classes(answers: Predictions, labels: Sequence[Label]) -> str:
    """Sorted by report.js; without it, or before, the worst is first."""

    def error(fraction: float) -> str:
        return f'<td class="n error" data-value="{fraction:.6g}" style="--p:{fraction:.0%}">{fraction:.1%}</td>'

    rows = "".join(
        f"<tr><td>{escape(labels[row.label].id)}</td><td>{escape(labels[row.label].name)}</td>"
        f'<td class="n">{row.images}</td>{error(row.top1_error)}{error(row.top5_error)}</tr>'
        for row in answers.classes()
    )
    head = '<th scope="col">class</th><th scope="col">words</th><th scope="col" class="n">images</th>'
    head += (
        '<th scope="col" class="n" aria-sort="descending">top-1 error</th><th scope="col" class="n">top-5 error</th>'
    )
    hint = "<p>Errors by ten views.<span data-with-script hidden> A heading sorts by its column; once more turns the order.</span></p>"
    table = f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'{hint}<div class="scroll" role="region" aria-label="Classes" tabindex="0">{table}</div>'


def _undecodable(table: pa.Table) -> str:
    ids = table["id"].filter(table["undecodable"])
    more = f"<p>and {len(ids) - LISTED:,} more; predictions.parquet lists all.</p>" if len(ids) > LISTED else ""
    return f"<ul>{''.join(f'<li><code>{escape(name)}</code></li>' for name in ids[:LISTED].to_pylist())}</ul>{more}"
