"""Compares two validations of the same images, image by image: `tencrop compare RUN_A RUN_B`.

Use it for two precisions, engines or ensembles, or for a validation over HTTP and one of the command line.
"""

from math import sqrt
from typing import Any

import numpy as np
import pyarrow.compute as pc

from tencrop.common.errors import BadInput
from tencrop.evaluation.finished_run import FinishedRun
from tencrop.evaluation.paired_bootstrap import SCORES, compare_class_means, compare_scores
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.summary import Summary
from tencrop.model.measured_errors import VIEWS
from tencrop.model.metrics import Z


def compare(a: FinishedRun, b: FinishedRun, show: int) -> dict[str, Any]:
    """Compare the answers of two runs by the center crop and by the ten views.

    For each of the two the result holds the errors of both runs, as `compare_errors` gives them, their means over the
    classes, as `compare_means` does, the "scores" of their probabilities, as `compare_scores` does, and "changed", the
    number of images with another top-1 label. "largest_move" and "median_move" say how far the probability of each
    run's own top-1 label moves, over the images that both runs have an answer for; they are None without such images.
    "images" lists the first `show` images, by id, with another top-1 label by ten views.

    Raises BadInput where the runs are of other images or other true classes.
    """
    _check_same_images(a, b)
    found: dict[str, Any] = {"a": _describe_run(a), "b": _describe_run(b)}
    found["n"] = len(a.labels)
    for kind in VIEWS:
        of_a, of_b = a.predictions[kind], b.predictions[kind]
        top_a, top_b = of_a.top, of_b.top
        moved = np.abs(of_a.probabilities[:, 0] - of_b.probabilities[:, 0])[of_a.answered & of_b.answered]
        found[kind] = {
            "top1": compare_errors(of_a.right, of_b.right),
            "top5": compare_errors(of_a.right_in_five, of_b.right_in_five),
            "mean_over_classes": compare_means(of_a, of_b),
            "scores": compare_scores(of_a, of_b, SCORES[kind]),
            "changed": int((top_a[:, 0] != top_b[:, 0]).sum()),
            "largest_move": float(moved.max()) if len(moved) else None,
            "median_move": float(np.median(moved)) if len(moved) else None,
        }
    rows = np.flatnonzero(top_a[:, 0] != top_b[:, 0])[:show]  # of the ten views, the last kind
    found["images"] = [
        {"id": a.ids[i].as_py(), "label": int(a.labels[i]), "a": _top1(a, i), "b": _top1(b, i)} for i in rows
    ]
    return found


def _describe_run(run: FinishedRun) -> dict[str, Any]:
    summary = run.summary
    return {
        "folder": run.folder,
        "model": summary.model.name,
        "dataset": summary.dataset,
        "engine": summary.engine,
        "device": summary.device,
        "precision": summary.precision,
        "undecodable": summary.undecodable,
        "no_answer": summary.no_answer,
    }


def _check_same_images(a: FinishedRun, b: FinishedRun) -> None:
    """Compare the images and true classes of two runs. Raises BadInput that names the first difference, by id."""
    shared = min(len(a.ids), len(b.ids))
    at = pc.index(pc.not_equal(a.ids[:shared], b.ids[:shared]), True).as_py()
    if at >= 0 or len(a.ids) != len(b.ids):
        at = at if at >= 0 else shared
        here = [(run.ids[at].as_py(), run.folder) for run in (a, b) if at < len(run.ids)]
        image, folder = min(here)  # the other run may hold the larger id further on
        raise BadInput(
            f"{image}: only {folder} has this image", "compare runs over the same images (DATA, --limit, --holdout)"
        )
    other = np.flatnonzero(a.labels != b.labels)
    if len(other):
        true_a, true_b = a.labels[other[0]], b.labels[other[0]]
        classes = f"class {true_a} in {a.folder}, {true_b} in {b.folder}"
        raise BadInput(f"{a.ids[other[0]]}: {classes}", "compare runs with the same list of classes")
    if _describe_rules(a.summary) != _describe_rules(b.summary):
        raise BadInput(
            f"{a.folder} and {b.folder}: not the same is right, or may be named, in both",
            "evaluate both with this version, and with the same --real-labels",
        )


def _describe_rules(summary: Summary) -> tuple[bool, int | None]:
    """Two rules: whether several labels may be right, and among how many classes a prediction is one."""
    return summary.without_label is not None, summary.test_set.among if summary.test_set else None


def compare_errors(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """Compare the errors of A and B, given for each image whether each of them is right, bool [n].

    The result holds both errors, B's error minus A's with its 95 % interval, and the numbers of images that only one of
    them has right. "mcnemar_p" is the two-sided p of McNemar's exact test: a binomial test of these two numbers at 1/2,
    and 1 where both are 0.
    """
    from scipy.stats import binomtest  # half a second, and only this command needs it

    n, only_a, only_b = len(right_a), int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return {
        "error_a": int((~right_a).sum()) / n,
        "error_b": int((~right_b).sum()) / n,
        "difference": (only_a - only_b) / n,
        "interval": list(paired_interval(only_a, only_b, n)),
        "right_only_in_a": only_a,
        "right_only_in_b": only_b,
        "mcnemar_p": float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    }


def compare_means(a: Predictions, b: Predictions) -> dict[str, Any]:
    """Compare the means over the classes of the errors of A and B.

    The interval is that of `compare_class_means`.
    """
    means_a, means_b = (of.count_by_class().mean_error() for of in (a, b))
    pairs = {
        "top1": (means_a.top1_error, means_b.top1_error, a.right, b.right),
        "top5": (means_a.top5_error, means_b.top5_error, a.right_in_five, b.right_in_five),
    }
    found = {}
    for name, (in_a, in_b, right_a, right_b) in pairs.items():
        interval = compare_class_means(right_a, right_b, a.labels)
        found[name] = {"error_a": in_a, "error_b": in_b, "difference": in_b - in_a, "interval": interval}
    return found


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """95 % interval of B's error minus A's, where `only_a` of n images are right in A only and `only_b` in B only.

    The adjusted Wald interval of Bonett and Price (J. Educ. Behav. Stat. 37, 2012, 479-488). Fagerland, Lydersen and
    Laake (Stat. Med. 33, 2014, 2850-2875) recommend it for pairs of any number. The adjustment adds one image to either
    side, so the interval of runs that never disagree is +-2.8 / n. Unlike Newcombe's interval (1998) it does not depend
    on the number of images that both runs have right.
    """
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    middle = share_a - share_b
    spread = Z * sqrt((share_a + share_b - middle**2) / (n + 2))
    return max(middle - spread, -1.0), min(middle + spread, 1.0)


def _top1(run: FinishedRun, i: int) -> dict[str, Any] | None:
    """The top-1 label of image i by ten views, None where the image has no answer."""
    ten_crop = run.predictions["ten_crop"]
    index = int(ten_crop.top[i, 0])
    return None if index < 0 else {"index": index, "probability": float(ten_crop.probabilities[i, 0])}
