"""Measures calibrations on images that they do not come from: random halves, one to calibrate on and one to judge by.

python -m bench.calibration DATA [--holdout 0.15] [--model M] [--precision fp32] [--halves 200] [--record FILE]

For each coverage: what the other half reaches, beside the Beta law of that many images (Vovk, ACML 2012), and its
labels in a set; then both by randomized APS and by RAPS, which no server answers with. For each map: its NLL and its
ECE, and how often the ECE lies in the middle 95 % of nets that are right exactly as often as they say. --record keeps
what the coverages are computed from, 5 bytes an image.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import betabinom

from bench.machine import describe_machine
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.adaptive_sets import PENALTIES, find_conformities, judge_halves
from tencrop.evaluation.calibrate import collect_answers, plan_calibration
from tencrop.evaluation.confidence_fit import FITS, SEED, Answers, judge
from tencrop.evaluation.conformal import cover_halves, find_rank, fit_halves
from tencrop.evaluation.reliability import simulate_calibrated
from tencrop.model.calibration import count_set
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

PERCENTS = (80, 90, 95)
MAP_HALVES = 20  # of each map: a fit takes a second


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--holdout", type=float, default=1)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--halves", type=int, default=200)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    with open_classifier(options.model, EngineOptions("cpu", precision=options.precision)) as classifier:
        plan = plan_calibration(open_source(options.data, training=False), classifier, options.holdout)
        answers = collect_answers(plan, classifier)
    if options.record:
        true, is_first = answers.judge_first()
        np.savez(options.record, true=true, is_first=is_first)
    print(f"{describe_machine()}\n{len(answers.labels)} images of {plan.data.root.name}, {options.precision}\n")
    print_coverages(answers, options.halves)
    print_maps(answers)


def print_coverages(answers: Answers, halves: int) -> None:
    """Print a row for each coverage. All but the Beta law is judged on the other half."""
    true, is_first = answers.judge_first()
    fitted = len(true) // 2
    judged = len(true) - fitted
    adaptive = {name: find_conformities(answers.mean, penalty) for name, penalty in PENALTIES.items()}
    others = "".join(f" {name}: reached | labels |" for name in adaptive)
    print("| coverage | mean reached | its spread | of the Beta law | labels in a set |" + others)
    print("|---|---|---|---|---|" + len(adaptive) * "---|---|")
    for percent in PERCENTS:
        reached = cover_halves(true, is_first, percent, halves)
        rank = find_rank(fitted, percent)
        law = betabinom(judged, rank, fitted + 1 - rank).std() / judged
        sizes = [count_set(answers.mean[rest], each).mean() for each, rest in fit_halves(true, percent, halves)]
        cells = [f"{percent / 100:g}", *(f"{each:.4f}" for each in (reached.mean(), reached.std(), law))]
        cells.append(f"{np.mean(sizes):.1f}")
        for conformities in adaptive.values():
            covered, size = judge_halves(conformities, answers.labels, percent, halves)
            cells += [f"{covered:.4f}", f"{size:.1f}"]
        print(f"| {' | '.join(cells)} |")
    print()


def print_maps(answers: Answers) -> None:
    """Print a row for each map: means over halves, and how many of their ECEs are those of a calibrated net."""
    random, n = np.random.default_rng(SEED), len(answers.labels)
    halves = [random.permutation(n) < n // 2 for _ in range(MAP_HALVES)]
    print("| map | NLL | ECE | of a calibrated net (95 %) | within |\n|---|---|---|---|---|")
    for name, fit in FITS.items():
        rows = []
        for half in halves:
            rest = answers.select(~half)
            found = fit(answers.select(half), name).apply(rest.mean, rest.views)
            judged = judge(rest, found, name)
            law = simulate_calibrated(found[np.arange(len(rest.labels)), rest.mean.argmax(1)])
            rows.append((judged.nll, judged.ece, law.low, law.high, law.low <= judged.ece <= law.high))
        nll, ece, low, high, within = np.mean(rows, axis=0)
        print(f"| {name} | {nll:.4f} | {ece:.4f} | {low:.4f} to {high:.4f} | {within:.0%} |")


if __name__ == "__main__":
    main()
