"""The errors of a model over several data sets as one table."""

from collections.abc import Mapping

from tencrop.evaluation.summary import Summary
from tencrop.model.measured_errors import VIEWS, ErrorRates

SETS_FILE = "sets.json"


def text_table(summaries: Mapping[str, Summary]) -> str:
    """A row for each data set: the number of images, top-1 and top-5 errors, and those that others measured."""
    columns = [f"{words} {top} error" for words in VIEWS.values() for top in ("top-1", "top-5")]
    rows = [["data set", "images", *columns, ""], *(_row(name, of) for name, of in summaries.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_align(row, widths) for row in rows)


def _row(name: str, summary: Summary) -> list[str]:
    rates: list[ErrorRates] = [getattr(summary, kind) for kind in VIEWS]
    errors = [f"{error:.2%}" for of in rates for error in (of.top1_error, of.top5_error)]
    known = summary.test_set
    title = f"{name} ({known.name})" if known else name
    expected = (
        [f"{error.net}: {error.top1:.2f}% top-1, {VIEWS[error.views]}" for error in known.expect] if known else []
    )
    return [title, str(summary.n), *errors, ", ".join(expected)]


def _align(row: list[str], widths: list[int]) -> str:
    """The first and the last cell to the left, the numbers between them to the right."""
    first, *numbers, last = row
    cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
    return "  ".join([first.ljust(widths[0]), *cells, last]).rstrip()
