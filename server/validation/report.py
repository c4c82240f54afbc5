"""report.html: a validation in one file that opens anywhere. Errors, classes, confusions, and images with their five bars."""

import base64
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import sqrt
from typing import Any

import pyarrow as pa
from PIL import Image

from dataset.source import Entry, Source
from model.contract import Contract, Label
from model.preprocess import ImageError, decode

PANEL = 8  # images shown, as in the paper's figure 4
THUMBNAIL = 160  # pixels
PAIRS = 15  # most confused
Z = 1.96  # 95 %
VIEWS = {"center": "center crop", "ten_crop": "ten views"}

STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #8886;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}.panel{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1.5rem}
.panel img{width:100%}.bar{background:linear-gradient(90deg,#5aa0d088 var(--p),transparent 0);padding:0 .3rem;font-size:.85rem}
.bar.true{background:linear-gradient(90deg,#e0885a88 var(--p),transparent 0)}h3{margin:.3rem 0;font-size:.95rem}small{opacity:.75}
"""


def text_report(summary: Mapping[str, Any]) -> str:
    """A few lines for a terminal: the errors, and beside them what the recipe's net reached in 2012."""
    lines = [
        f"{summary['n']} images ({summary['undecodable']} undecodable), {summary['engine']} on {summary['device']}, {summary['precision']}"
    ]
    for kind, words in VIEWS.items():
        lines.append(f"{words:<12} top-1 error {summary[kind]['top1_error']:7.2%}   top-5 error {summary[kind]['top5_error']:7.2%}")
    for then in summary["expect"]:
        error = f"top-1 error {then['top1']:6.2f}%   top-5 error {then['top5']:6.2f}%"
        lines.append(f"{VIEWS[then['views']]:<12} {error}   (this recipe's net in 2012, {then['data']})")
    return "\n".join(lines)


def html_report(
    summary: Mapping[str, Any], run: Mapping[str, Any], table: pa.Table, labels: Sequence[Label], data: Source, entries: Sequence[Entry]
) -> str:
    """The page; `table` as in records.SCHEMA, its rows those of `entries`."""
    rows = table.to_pylist()
    model = summary["model"]
    parts = [
        f"<h1>{escape(model['name'])} on {escape(summary['dataset'])}</h1>",
        f"<p>{summary['n']} images, {summary['undecodable']} of them undecodable (counted as wrong). "
        f"{summary['engine']} on {summary['device']}, {summary['precision']}; {run['images_per_s']:.1f} images/s. "
        f"<small>Model {model['sha256'][:12]}, contract {summary['contract_sha256'][:12]}.</small></p>",
        _errors(summary),
        f'<h2>Images with their five most probable labels</h2><div class="panel">{"".join(_panel(rows, labels, data, entries))}</div>',
        "<h2>Most confused</h2>",
        _table(("true class", "taken for", "images"), _confusions(rows, labels)),
        "<h2>Classes</h2>",
        _table(("class", "images", "top-1 error", "top-5 error"), _classes(rows, labels)),
    ]
    title = f"{escape(model['name'])} on {escape(summary['dataset'])}"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def interval(error: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error that is a fraction of n."""
    middle, spread = error + Z * Z / (2 * n), Z * sqrt(error * (1 - error) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return (middle - spread) / scale, (middle + spread) / scale


def _errors(summary: Mapping[str, Any]) -> str:
    body = []
    for kind, words in VIEWS.items():
        cells = []
        for which in ("top1_error", "top5_error"):
            error = summary[kind][which]
            low, high = interval(error, summary["n"])
            cells.append(f"{error:.2%} <small>({low:.1%} to {high:.1%})</small>")
        body.append((words, *cells))
    for then in summary["expect"]:
        words = f"2012, {VIEWS[then['views']]}, {escape(then['data'])}"
        body.append((words, f"{then['top1']:.2f}%", f"{then['top5']:.2f}%"))
    return _table(("prediction by", "top-1 error (95 %)", "top-5 error (95 %)"), body, plain=True)


def _table(head: Sequence[str], body: Sequence[Sequence[object]], plain: bool = False) -> str:
    """`plain` cells are HTML already."""

    def cell(value: object) -> str:
        number = isinstance(value, int | float)
        shown = f"{value:.1%}" if isinstance(value, float) else value if plain else escape(str(value))
        return f"<td{' class=n' if number else ''}>{shown}</td>"

    rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in body)
    return f"<table><thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead><tbody>{rows}</tbody></table>"


def _confusions(rows: Sequence[Mapping[str, Any]], labels: Sequence[Label]) -> list[tuple[str, str, int]]:
    pairs = Counter((row["label"], row["ten_crop_indices"][0]) for row in rows if not row["undecodable"])
    wrong = [(pair, n) for pair, n in pairs.most_common() if pair[0] != pair[1]][:PAIRS]
    return [(labels[true].name, labels[taken].name, n) for (true, taken), n in wrong]


def _classes(rows: Sequence[Mapping[str, Any]], labels: Sequence[Label]) -> list[tuple[str, int, float, float]]:
    """(class, images, top-1 error, top-5 error) by ten views, the worst first."""
    seen, first, five = Counter[int](), Counter[int](), Counter[int]()
    for row in rows:
        label = row["label"]
        seen[label] += 1
        first[label] += label not in row["ten_crop_indices"][:1]
        five[label] += label not in row["ten_crop_indices"]
    table = [(labels[label].name, n, first[label] / n, five[label] / n) for label, n in seen.items()]
    return sorted(table, key=lambda row: (-row[2], row[0]))


def _panel(rows: Sequence[Mapping[str, Any]], labels: Sequence[Label], data: Source, entries: Sequence[Entry]) -> Iterator[str]:
    shown = [(row, entry) for row, entry in zip(rows, entries, strict=True) if not row["undecodable"]]
    for row, entry in [shown[i * len(shown) // PANEL] for i in range(min(PANEL, len(shown)))]:
        guesses = zip(row["ten_crop_indices"], row["ten_crop_probabilities"], strict=True)
        bars = [_bar(labels[index].name, p, index == row["label"]) for index, p in guesses]
        picture = _thumbnail(data, entry)
        yield f"<div>{picture}<h3>{escape(labels[row['label']].name)}</h3>{''.join(bars)}</div>"


def _bar(name: str, probability: float, true: bool) -> str:
    kind = "bar true" if true else "bar"
    return f'<div class="{kind}" style="--p:{100 * probability:.0f}%">{escape(name)} {probability:.0%}</div>'


def _thumbnail(data: Source, entry: Entry) -> str:
    try:
        pixels, _ = decode(data.read(entry), Contract(resize=THUMBNAIL, crop=THUMBNAIL))
    except (ImageError, OSError):  # it was there a moment ago; the report does without its picture
        return ""
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=80)
    source = base64.b64encode(packed.getvalue()).decode()
    return f'<img alt="{escape(entry.id)}" src="data:image/jpeg;base64,{source}">'
