"""evaluation/adaptive_sets.py: scores and sets of an oracle that goes image by image, and the coverage of halves."""

import numpy as np
import pytest
from oracles import softmax

from tencrop.evaluation.adaptive_sets import PENALTIES, SEED, count_labels, find_conformities, judge_halves
from tencrop.evaluation.conformal import fit_halves, fit_threshold

N, CLASSES = 600, 12
FREE, PENALTY = 5, {"randomized APS": 0.0, "RAPS": 0.01}  # k_reg and lambda


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 [N,CLASSES] of an overconfident net, and labels [N] that are likelier than they say."""
    random = np.random.default_rng(24)
    logits = random.normal(0, 1.2, (N, CLASSES))
    labels = (random.random((N, 1)) > softmax(logits).cumsum(1)).sum(1).clip(0, CLASSES - 1)
    return softmax(2 * logits).astype(np.float32), labels


def oracle_score(row: np.ndarray, label: int, u: float, penalty: float) -> float:
    larger = [float(p) for p in row if p > row[label]]
    return sum(larger) + u * float(row[label]) + penalty * max(0, len(larger) + 1 - FREE)


def oracle_set(row: np.ndarray, tau: float, u: float, penalty: float) -> list[int]:
    """The labels from the most probable one on, until one has a score of more than tau."""
    found, total = list[int](), 0.0
    for place, label in enumerate(sorted(range(len(row)), key=lambda label: -row[label]), 1):
        if total + u * float(row[label]) + penalty * max(0, place - FREE) > tau:
            break
        found.append(label)
        total += float(row[label])
    return found


def romano_set(row: np.ndarray, tau: float, u: float) -> list[int]:
    """As its paper writes APS: the fewest labels whose sum reaches tau, without the last one where u <= V."""
    ranked, total, size = sorted(range(len(row)), key=lambda label: -row[label]), 0.0, 0
    while total < tau and size < len(row):
        total += float(row[ranked[size]])
        size += 1
    return ranked[: size - (u <= (total - tau) / float(row[ranked[size - 1]]))]


@pytest.mark.parametrize("name", PENALTY)
def test_scores_are_those_of_the_oracle(name: str, answers: tuple[np.ndarray, np.ndarray]) -> None:
    assert PENALTIES == PENALTY
    probabilities, _ = answers
    random = np.random.default_rng(SEED).random(N)
    wanted = [
        [oracle_score(row, label, u, PENALTY[name]) for label in range(CLASSES)]
        for row, u in zip(probabilities, random, strict=True)
    ]
    np.testing.assert_allclose(1 - find_conformities(probabilities, PENALTY[name]), wanted, atol=1e-12)


@pytest.mark.parametrize("percent", [80, 90, 95])
@pytest.mark.parametrize("name", PENALTY)
def test_sets_are_those_of_the_oracle(name: str, percent: int, answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    random = np.random.default_rng(SEED).random(N)
    scores = sorted(
        oracle_score(row, label, u, PENALTY[name]) for row, label, u in zip(probabilities, labels, random, strict=True)
    )
    tau = scores[int(np.ceil((N + 1) * percent / 100)) - 1] + 1e-9  # the image of this very score is inside
    sets = [oracle_set(row, tau, u, PENALTY[name]) for row, u in zip(probabilities, random, strict=True)]
    if name == "randomized APS":
        assert sets == [romano_set(row, tau, 1 - u) for row, u in zip(probabilities, random, strict=True)]
    conformities = find_conformities(probabilities, PENALTY[name])
    assert count_labels(conformities, labels, percent) == np.mean([len(each) for each in sets])
    for row, each in zip(conformities, sets, strict=True):
        assert sorted(each) == np.flatnonzero(row >= 1 - tau).tolist()


@pytest.mark.parametrize("percent", [80, 90, 95])
@pytest.mark.parametrize("name", PENALTY)
def test_the_other_half_is_covered_as_often_as_asked(
    name: str, percent: int, answers: tuple[np.ndarray, np.ndarray]
) -> None:
    probabilities, labels = answers
    conformities = find_conformities(probabilities, PENALTY[name])
    reached, size = judge_halves(conformities, labels, percent, halves=40)
    assert reached == pytest.approx(percent / 100, abs=0.02)
    assert size == pytest.approx(count_labels(conformities, labels, percent), rel=0.1)


def test_one_half_is_judged_by_the_threshold_of_the_other(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    conformities = find_conformities(probabilities, penalty=0.0)
    true = conformities[np.arange(N), labels]
    ((threshold, rest),) = fit_halves(true, 80, halves=1)
    fitted = np.setdiff1d(np.arange(N), rest)
    assert len(fitted) == len(rest) == N // 2 and threshold == fit_threshold(true[fitted], 80)
    sets = [np.flatnonzero(conformities[image] >= threshold) for image in rest]
    covered = [labels[image] in each for image, each in zip(rest, sets, strict=True)]
    wanted = np.mean(covered), np.mean([len(each) for each in sets])
    assert judge_halves(conformities, labels, 80, halves=1) == pytest.approx(wanted)


def test_equal_probabilities_have_places_of_their_own() -> None:
    """A net that knows nothing: the labels stand in the order of the classes, and a set grows by one at a time."""
    found = 1 - find_conformities(np.full((1, 64), 1 / 64), penalty=0.5)
    u = np.random.default_rng(SEED).random()
    np.testing.assert_allclose(found[0], [(place + u) / 64 + 0.5 * max(0, place - 4) for place in range(64)])


def test_a_penalty_makes_large_sets_smaller() -> None:
    """Of a net that is sure of half the images: the sums that they take are many small probabilities of the others."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 100, 1000)
    logits = random.normal(0, 1, (1000, 100))
    logits[np.arange(1000), labels] += np.where(labels < 50, 9, 3)
    probabilities = softmax(logits)
    aps, raps = (
        judge_halves(find_conformities(probabilities, each), labels, 90, halves=5)[1] for each in PENALTIES.values()
    )
    assert raps < 0.8 * aps
