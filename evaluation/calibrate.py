"""Calibrates a model: from its answers to labelled images, which it was not trained on, to its Calibration."""

from collections.abc import Callable, Iterator

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.dataset.source import Source, ignore_progress
from tencrop.evaluation.adaptive_sets import PENALTIES, count_labels, find_conformities
from tencrop.evaluation.chunks import predict_chunks
from tencrop.evaluation.confidence_fit import FITS, Answers, choose_map, try_map
from tencrop.evaluation.conformal import PERCENTS, count_needed, fit_thresholds
from tencrop.evaluation.plan import Plan, plan_evaluation
from tencrop.evaluation.set_coverage import SHOWN
from tencrop.model.calibration import NO_MAP, Calibration, count_set
from tencrop.runtime.classifier import Classifier

MOST_IMAGES = 5_000  # evenly spread: with 1,000 classes their answers take 220 MB


def plan_calibration(data: Source, model: Classifier, holdout: float) -> Plan:
    """Choose at most MOST_IMAGES images as `plan_evaluation` does.

    Raises BadInput as that does, where the data set lacks a class of the model, and where there are too few images.
    """
    plan = plan_evaluation(data, model, holdout, MOST_IMAGES)
    classes = len(model.labels)
    if plan.classes < classes:
        raise BadInput(
            f"{data.root}: has images of {plan.classes} of the model's {classes} classes",
            "calibrate on images of every class",
        )
    _check_enough(len(plan.entries))
    return plan


def _check_enough(n: int) -> None:
    lowest = PERCENTS[0]
    if n < count_needed(lowest):
        what = f"{n} images: a coverage of {lowest / 100:g} takes {count_needed(lowest)}"
        raise BadInput(what, "calibrate on more images that the net was not trained on")


def collect_answers(
    plan: Plan, model: Classifier, progress: Callable[[int], object] = ignore_progress, workers: int = 0
) -> Answers:
    """Predict the images of a plan; those that cannot be decoded or have no answer are left out.

    `progress` is called with the number of images done. Raises WorkFailed where an image is gone.
    """
    found, done = [], 0
    for chunk, failures, mean, views in predict_chunks(plan, range(plan.chunk_count), model, workers):
        labels = np.array(plan.chunk(chunk)[1])
        good = np.isfinite(mean).all(1) & np.array([not failure.reason for failure in failures])
        found.append((mean[good], views[good], labels[good]))
        progress(done := done + len(labels))
    return Answers(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def fit_calibration(
    answers: Answers, plan: Plan, model: Classifier, progress: Callable[[int], object] = ignore_progress
) -> Calibration:
    """Choose the map of the confidences, fit it on all answers, and find the thresholds of the sets.

    `progress` is called with the number of maps tried. Raises BadInput where there are too few answers.
    """
    _check_enough(len(answers.labels))
    tried = []
    for name in FITS:
        tried.append(try_map(answers, name))
        progress(len(tried))
    name = choose_map(tried)
    true, _ = answers.judge_first()
    return Calibration(
        map=FITS[name](answers, name),
        thresholds=fit_thresholds(true),
        tried=tuple(tried),
        dataset=plan.data.root.resolve().name,
        dataset_sha256=plan.sha256,
        n=len(true),
        engine=model.engine.name,
        precision=model.engine.precision,
    )


def format_calibration(found: Calibration, answers: Answers, left_out: int) -> Iterator[str]:
    """Yield the lines of a report for a terminal; `left_out` images had no answer."""
    yield f"{found.n} images ({left_out} without an answer), {found.engine}, {found.precision}"
    yield f"{'confidence map':<26} {'NLL':>7} {'ECE':>7}   on images that it was not fitted on"
    for each in found.tried:
        mark = "   <- chosen" if each.name == found.map.name else ""
        yield f"{each.name:<26} {each.nll:7.4f} {each.ece:7.4f}{mark}"
    if found.map.name == NO_MAP:
        yield "no map lowers both NLL and ECE, so a confidence is the probability"
    adaptive = {name: find_conformities(answers.mean, penalty) for name, penalty in PENALTIES.items()}
    for coverage, threshold in ((each.coverage, each.probability) for each in found.thresholds):
        if coverage in SHOWN:
            labels = count_set(answers.mean, threshold).mean()
            yield f"coverage {coverage:g}: labels of probability {threshold:.3g} or more, {labels:.1f} labels a set"
            sizes = {name: count_labels(each, answers.labels, round(coverage * 100)) for name, each in adaptive.items()}
            yield f"  (by {', '.join(f'{name} {size:.1f}' for name, size in sizes.items())}, for comparison)"
    if missing := [percent for percent in PERCENTS if found.n < count_needed(percent)]:
        needed = count_needed(missing[0])
        yield f"coverages from {missing[0] / 100:g} on are left out: that takes {needed} images, 10 / (1 - coverage)"
