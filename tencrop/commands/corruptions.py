"""`tencrop evaluate --corrupt`: its options, and the run on corrupted images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tencrop.commands.output import echo
from tencrop.commands.progress import show_progress
from tencrop.common.errors import BadInput

if TYPE_CHECKING:
    from tencrop.evaluation.corruption.conditions import Condition
    from tencrop.evaluation.corruption.summary import CorruptionSummary
    from tencrop.evaluation.plan import Plan
    from tencrop.evaluation.summary import Summary
    from tencrop.runtime.ensemble import Predictor

Corrupt = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="evaluate under ImageNet-C corruptions: all, or names"),
]
Severity = Annotated[int | None, typer.Option(metavar="N", min=1, max=5, help="1 to 5; default: all five")]
Frost = Annotated[Path | None, typer.Option(metavar="DIR", help="the authors' photographs for --corrupt frost")]


def read_conditions(
    corrupt: str | None, severity: int | None, frost: Path | None, ray: bool
) -> "tuple[Condition, ...]":
    """Read the options: the conditions, none without --corrupt. Raises BadInput where an option has no use."""
    if corrupt is None:
        for option, value in (("--severity", severity), ("--frost", frost)):
            if value is not None:
                raise BadInput(f"{option}: applies to --corrupt alone")
        return ()
    if ray:
        raise BadInput("--corrupt: does not run with --ray", "leave --ray out")
    from tencrop.evaluation.corruption.conditions import choose_conditions

    return choose_conditions(corrupt, severity, frost)


def run_conditions(
    plan: "Plan",
    model: "Predictor",
    clean: "Summary",
    conditions: "tuple[Condition, ...]",
    frost: Path | None,
    out: Path | None,
    resume: bool,
    workers: int,
) -> "CorruptionSummary | None":
    """Evaluate the conditions, if there are any, and show the progress. Raises as `evaluate_corruptions` does."""
    if not conditions:
        return None
    from tencrop.evaluation.corruption.run import evaluate_corruptions

    total = len(plan.entries) * len(conditions)
    with show_progress("corrupted images", total) as progress:
        return evaluate_corruptions(plan, model, clean, conditions, frost, out, resume, progress, workers)


def echo_corruptions(result: "CorruptionSummary") -> None:
    """Print the errors under corruptions."""
    from tencrop.evaluation.corruption.text_report import text_corruptions

    echo(*text_corruptions(result).split("\n"))
