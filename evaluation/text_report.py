"""The report of a validation for a terminal."""

from tencrop.evaluation.summary import VIEWS, Summary


def text_report(summary: Summary) -> str:
    """The errors in a few lines, with the errors of the recipe's net in 2012 below them."""
    lost = f"{summary.undecodable} undecodable"
    if summary.no_answer:
        lost += f", {summary.no_answer} without an answer"
    lines = [f"{summary.n} images ({lost}), {summary.engine} on {summary.device}, {summary.precision}"]
    if summary.classes:
        lines.append(f"{summary.classes} of the model's {summary.model_classes} classes")
    for kind, words in VIEWS.items():
        errors = getattr(summary, kind)
        lines.append(f"{words:<12} top-1 error {errors.top1_error:7.2%}   top-5 error {errors.top5_error:7.2%}")
    for then in summary.published:
        errors = f"top-1 error {then.top1:6.2f}%   top-5 error {then.top5:6.2f}%"
        lines.append(f"{VIEWS[then.views]:<12} {errors}   (this recipe's net in 2012, {then.data})")
    return "\n".join(lines + (summary.account.format() if summary.account else []))
