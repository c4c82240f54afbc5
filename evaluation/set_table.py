"""The errors of a model over several data sets as one table."""

from collections.abc import Mapping

from tencrop.evaluation.summary import Summary
from tencrop.model.measured_errors import VIEWS, ErrorRates

SETS_FILE = "sets.json"


def text_table(summaries: Mapping[str, Summary]) -> str:
    """A row for each data set: the number of images, and top-1 and top-5 errors."""
    columns = [f"{words} {top} error" for words in VIEWS.values() for top in ("top-1", "top-5")]
    rows = [["data set", "images", *columns], *(_row(name, of) for name, of in summaries.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_align(row, widths) for row in rows)


def _row(name: str, summary: Summary) -> list[str]:
    rates: list[ErrorRates] = [getattr(summary, kind) for kind in VIEWS]
    errors = [f"{error:.2%}" for of in rates for error in (of.top1_error, of.top5_error)]
    return [name, str(summary.n), *errors]


def _align(row: list[str], widths: list[int]) -> str:
    """The first cell to the left, the others to the right."""
    return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
