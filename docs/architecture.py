"""python docs/architecture.py: draws docs/architecture.svg, the tower of rooms, from import-linter's contracts."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH, MARGIN, GAP = 880, 24, 10  # pixels
LEFT = 64  # of the boxes; the arrow stands before them
HEIGHT = 58  # of a box
PURPOSE = {  # where three boxes share a row: at most 34 characters
    "bench": "measures speed, memory, time",
    "experiments": "repeats the paper's figures and tables",
    "tencrop": "the command line and the Python API",
    "server": "HTTP: routes, admission, batching, jobs, the page",
    "evaluation": "labelled images to a report",
    "export": "checkpoint to tencrop.onnx",
    "training": "the paper's regimen",
    "dataset": "layouts of labelled images, the prepared store, splits",
    "runtime": "engines, sessions, the classifier, cores",
    "images": "encoded bytes to a uint8 square, within limits",
    "model": "the net, its contract, its files, ten crops, metrics",
    "common": "errors, strict parsing, atomic files, locks",
}
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de } .box { fill: #eef4fb; stroke: #54799e }
  .top { fill: #f6f1e4; stroke: #9a7b2d } .name { fill: #10243a; font: 600 16px ui-monospace, monospace }
  .purpose { fill: #3b4a5a } text { font: 13px system-ui, sans-serif } .arrow { stroke: #54799e; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d } .box { fill: #14263a; stroke: #6a9bd0 }
    .top { fill: #2b2515; stroke: #c9a44a } .name { fill: #e6edf3 } .purpose { fill: #b4c0cc }
    .arrow { stroke: #6a9bd0 }
  }"""


def read_tower() -> list[list[str]]:
    """Read the rows of rooms from the top; the modules of tencrop/ itself are one room, `tencrop`."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    above, rooms = (each for each in pyproject["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    rows = [re.split(r" [|:] ", row) for row in (*above["layers"], *rooms["layers"])]
    return [row for row in rows if not (ROOT / "tencrop" / f"{row[0]}.py").is_file()]


def draw(tower: list[list[str]]) -> str:
    """Draw a row of boxes for each row of rooms -> SVG. The style follows the reader's light or dark theme."""
    bottom = MARGIN + len(tower) * (HEIGHT + GAP) - GAP
    boxes = [
        _draw_box(room, row, place, len(rooms)) for row, rooms in enumerate(tower) for place, room in enumerate(rooms)
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + MARGIN}" role="img">',
            "<title>The rooms of tencrop. Each imports only rooms below it.</title>",
            f"<style>{STYLE}\n</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{bottom + MARGIN - 1}" rx="8"/>',
            f'<path class="arrow" d="M32 {MARGIN + 8}V{bottom - 8}m-7 -12l7 12l7 -12" fill="none"/>',
            f'<text class="purpose" transform="translate(22 {(MARGIN + bottom) // 2}) rotate(-90)">imports</text>',
            *boxes,
            "</svg>\n",
        )
    )


def _draw_box(room: str, row: int, place: int, among: int) -> str:
    width = (WIDTH - LEFT - MARGIN - GAP * (among - 1)) / among
    x, y = LEFT + place * (width + GAP), MARGIN + row * (HEIGHT + GAP)
    kind = "box" if (ROOT / "tencrop" / room).is_symlink() else "top"
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT}" rx="5"/>'
        f'<text class="name" x="{x + 14:.1f}" y="{y + 24}">{room}/</text>'
        f'<text class="purpose" x="{x + 14:.1f}" y="{y + 44}">{PURPOSE[room]}</text>'
    )


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw(read_tower()), encoding="utf-8")
