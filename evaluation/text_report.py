"""The report of a validation for a terminal."""

from collections.abc import Iterator

from tencrop.evaluation.agreement import GROUPS, AgreementErrors
from tencrop.evaluation.evaluated_set import EvaluatedSet
from tencrop.evaluation.intervals import Interval, IntervalsByViews
from tencrop.evaluation.scores import Scores
from tencrop.evaluation.set_coverage import SHOWN, SetCoverages
from tencrop.evaluation.summary import Summary
from tencrop.model.measured_errors import VIEWS, ErrorsByViews


def text_report(summary: Summary) -> str:
    """The errors in a few lines, with their means over classes and the errors of the recipe's net in 2012 below.

    Then how far the probabilities can be believed, and the account of the data set.
    """
    lost = f"{summary.undecodable} undecodable"
    if summary.no_answer:
        lost += f", {summary.no_answer} without an answer"
    lines = [f"{summary.n} images ({lost}), {summary.engine} on {summary.device}, {summary.precision}"]
    if summary.classes:
        lines.append(f"{summary.classes} of the model's {summary.model_classes} classes")
    if summary.without_label is not None:
        lines.append(f"{summary.without_label} left out without a right label")
    if summary.test_set:
        lines += _list_expected(summary.test_set)
    intervals = summary.intervals
    lines += _list_rates(ErrorsByViews(summary.center, summary.ten_crop), intervals.over_images if intervals else None)
    if summary.mean_over_classes:
        means = _list_rates(summary.mean_over_classes, intervals.mean_over_classes if intervals else None)
        lines += [f"{line}   (mean over classes)" for line in means]
    for then in summary.published:
        errors = f"top-1 error {then.top1:6.2f}%   top-5 error {then.top5:6.2f}%"
        lines.append(f"{VIEWS[then.views]:<12} {errors}   (this recipe's net in 2012, {then.data})")
    if summary.scores:
        for kind, words in VIEWS.items():
            lines.append(f"{words:<12} {_text_scores(getattr(summary.scores, kind))}")
    if summary.agreement:
        lines.append(_text_agreement(summary.agreement))
    if summary.sets:
        lines.append(_text_sets(summary.sets))
    return "\n".join(lines + (summary.account.format() if summary.account else []))


def _list_expected(of: EvaluatedSet) -> Iterator[str]:
    """The test set's name, and the errors that others measured on it."""
    yield of.name + (f": a prediction is one of its {of.among} classes" if of.among else "")
    for error in of.expect:
        yield f"{VIEWS[error.views]:<12} top-1 error {error.top1:6.2f}%   ({error.net}, {error.source})"


def _list_rates(errors: ErrorsByViews, intervals: IntervalsByViews | None) -> Iterator[str]:
    for kind, words in VIEWS.items():
        rates, ends = getattr(errors, kind), getattr(intervals, kind, None)
        top1, top5 = (_text_interval(getattr(ends, f"top{k}_error", None)) for k in (1, 5))
        yield f"{words:<12} top-1 error {rates.top1_error:7.2%}{top1}   top-5 error {rates.top5_error:7.2%}{top5}"


def _text_interval(ends: Interval | None) -> str:
    return " ({:.2%} to {:.2%})".format(*ends) if ends else ""


def _text_scores(of: Scores) -> str:
    chance = f"perfectly calibrated: {of.calibrated_ece.low:.3f} to {of.calibrated_ece.high:.3f}"
    return (
        f"NLL {of.nll:.3f}   Brier {of.brier:.3f}   ECE {of.ece:.3f} ({chance})   classwise ECE {of.classwise_ece:.4f}"
    )


def _text_sets(sets: SetCoverages) -> str:
    chosen = [each for each in sets.coverages if each.coverage in SHOWN]
    reached = (f"{each.reached:.1%}{_text_interval(each.interval)} for {each.coverage:.0%}" for each in chosen)
    caution = "   (the model was calibrated on these images)" if sets.on_these_images else ""
    return f"sets hold the right label: {', '.join(reached)}{caution}"


def _text_agreement(agreement: tuple[AgreementErrors, ...]) -> str:
    shares = []
    for least, most in GROUPS:
        images = sum(row.images for row in agreement[least : most + 1])
        wrong = sum(row.wrong for row in agreement[least : most + 1])
        views = f"{least}" if least == most else f"{least} to {most}"
        shares.append(
            f"{views} of 10: {wrong / images:.1%} of {images} wrong" if images else f"{views} of 10: no image"
        )
    return f"views that agree: {'; '.join(shares)}"
