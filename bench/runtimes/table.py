"""Renders the table of runtimes."""

from collections.abc import Iterable, Mapping

from bench.runtimes.files import FILES
from bench.runtimes.measure import Found
from bench.runtimes.rows import ROWS

HEAD = ("runtime", "version", *(f"{name}, {file.views}" for name, file in FILES.items()))


def render_table(found: Mapping[str, Found]) -> str:
    """Markdown: a line for each row, in the order of ROWS."""
    rows = [(ROWS[name], found[name]) for name in ROWS if name in found]
    lines = [(row.runtime, row.version, *(render_cell(each[file]) for file in FILES)) for row, each in rows]
    return "\n".join([render_line(HEAD), "|---" * len(HEAD) + "|", *map(render_line, lines)])


def render_cell(found: float | str) -> str:
    """A difference with one digit, or a reason."""
    return found if isinstance(found, str) else f"{found:.0e}"


def render_line(cells: Iterable[str]) -> str:
    """One line of Markdown."""
    return f"| {' | '.join(cells)} |"
