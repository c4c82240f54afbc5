"""The report of a validation for a terminal."""

from tencrop.evaluation.summary import Summary
from tencrop.model.measured_errors import VIEWS, ErrorRates


def text_report(summary: Summary) -> str:
    """The errors in a few lines, with their means over classes and the errors of the recipe's net in 2012 below."""
    lost = f"{summary.undecodable} undecodable"
    if summary.no_answer:
        lost += f", {summary.no_answer} without an answer"
    lines = [f"{summary.n} images ({lost}), {summary.engine} on {summary.device}, {summary.precision}"]
    if summary.classes:
        lines.append(f"{summary.classes} of the model's {summary.model_classes} classes")
    for kind, words in VIEWS.items():
        lines.append(f"{words:<12} {_text_rates(getattr(summary, kind))}")
    if summary.mean_over_classes:
        for kind, words in VIEWS.items():
            lines.append(f"{words:<12} {_text_rates(getattr(summary.mean_over_classes, kind))}   (mean over classes)")
    for then in summary.published:
        errors = f"top-1 error {then.top1:6.2f}%   top-5 error {then.top5:6.2f}%"
        lines.append(f"{VIEWS[then.views]:<12} {errors}   (this recipe's net in 2012, {then.data})")
    return "\n".join(lines + (summary.account.format() if summary.account else []))


def _text_rates(rates: ErrorRates) -> str:
    return f"top-1 error {rates.top1_error:7.2%}   top-5 error {rates.top5_error:7.2%}"
