"""Conditions: which corruptions a net is measured under, each at which severities."""

from pathlib import Path
from typing import NamedTuple

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.images.corruptions.table import CORRUPTIONS, FROST, MADE_FROST, SEVERITIES

ALL = "all"


class Condition(NamedTuple):
    """A corruption of the table, and its severity from 1 to 5."""

    corruption: str
    severity: int


def choose_conditions(names: str, severity: int | None = None, frost: Path | None = None) -> tuple[Condition, ...]:
    """Choose the conditions of "all" or of names with commas between them, at one severity or at all five.

    frost: folder of the authors' photographs; without it "frost" stands for "frost*". The order is the table's.
    Raises BadInput for an unknown name, and for photographs that no corruption takes.
    """
    known = [name for name in CORRUPTIONS if name != MADE_FROST]
    wanted = set(known if names == ALL else names.split(","))
    for name in sorted(wanted - set(known)):
        raise BadInput(f"--corrupt: no corruption {name!r}", did_you_mean(name, known, f"one of {', '.join(known)}"))
    if frost and FROST not in wanted:
        raise BadInput("--frost: applies to the corruption frost, which --corrupt does not name")
    if not frost and FROST in wanted:
        wanted = wanted - {FROST} | {MADE_FROST}
    severities = SEVERITIES if severity is None else (severity,)
    return tuple(Condition(name, each) for name in CORRUPTIONS if name in wanted for each in severities)
