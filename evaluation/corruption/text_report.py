"""The errors under corruptions for a terminal."""

from tencrop.evaluation.corruption.summary import CorruptionSummary
from tencrop.images.corruptions.table import MADE_FROST
from tencrop.model.measured_errors import VIEWS


def text_corruptions(result: CorruptionSummary) -> str:
    """A table of top-1 errors by ten views: a line for each corruption, a column for each severity, and the means."""
    severities = sorted({each.condition.severity for each in result.errors})
    words = {"center": "center", "ten_crop": "ten views"}
    divided = "/ AlexNet" if result.is_imagenet else ""
    lines = [
        f"top-1 errors under corruptions of the square of {result.square} pixels, by ten views",
        _row("severity", [str(severity) for severity in severities], ["mean", "- clean", "center", divided]),
    ]
    for name in result.corruptions:
        errors = [f"{each.ten_crop.top1_error:.2%}" for each in result.by_severity(name)]
        error = result.corruption_error(name, "center")
        means = [
            f"{result.mean_error(name, 'ten_crop'):.2%}",
            f"{result.mean_increase(name, 'ten_crop'):+.2%}",
            f"{result.mean_error(name, 'center'):.2%}",
            "" if error is None else f"{error:.1%}",
        ]
        lines.append(_row(name, errors, means))
    for kind in VIEWS if result.averaged else ():
        mean, increase = result.mean_of_means(kind), result.mean_of_increases(kind)
        mce = result.mce(kind)
        last = "" if mce is None else f"   mCE {mce:.1%}"
        lines.append(f"{words[kind]:<12} mean top-1 error {mean:7.2%}   over clean {increase:+7.2%}{last}")
    if MADE_FROST in result.corruptions:
        lines.append(f"{MADE_FROST} has a texture made here, not the authors' photographs; no mean has it")
    return "\n".join([*lines, result.explain_mce()])


def _row(name: str, errors: list[str], means: list[str]) -> str:
    cells = [f"{cell:>9}" for cell in errors] + [f"{cell:>11}" for cell in means]
    return "".join((f"{name:<18}", *cells)).rstrip()
