"""Scores of probabilities: torchmetrics and scikit-learn agree, and so does numpy written plainly."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss
from support.records import make_records
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from tencrop.evaluation.agreement import count_by_agreement
from tencrop.evaluation.class_sums import ClassSums
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import BINS, Reliability, simulate_calibrated
from tencrop.evaluation.scores import measure_scores
from tencrop.images.errors import Failure


class Drawn(NamedTuple):
    """Probabilities of 300 images and their true classes, which the probabilities partly know."""

    labels: np.ndarray  # [300]
    mean: np.ndarray  # float32 [300,7]
    views: np.ndarray  # float32 [300,10,7]

    @property
    def right(self) -> np.ndarray:
        """Which class is right, bool [300,7]."""
        return np.asarray(np.eye(7, dtype=bool)[self.labels])


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    random = np.random.default_rng(24)
    labels = random.integers(0, 6, 300)  # no image of the last class
    logits = random.normal(0, 1, (300, 10, 7)) + random.normal(0, 1.5, (300, 1, 7))
    logits[np.arange(300), :, labels] += 2
    views = np.exp(logits)
    views = (views / views.sum(-1, keepdims=True)).astype(np.float32)
    return Drawn(labels, views.mean(1), views)


def test_ece_and_brier_and_nll_are_those_of_torchmetrics_and_scikit_learn(drawn: Drawn) -> None:
    table = make_records(drawn.labels, drawn.mean, drawn.views)
    for kind, p in (("center", drawn.views[:, 2]), ("ten_crop", drawn.mean)):
        sums = ClassSums.from_probabilities(p, drawn.right)
        found = measure_scores(Predictions.from_table(table, kind), sums)
        tensors = torch.from_numpy(p), torch.from_numpy(drawn.labels)
        assert found.ece == pytest.approx(multiclass_calibration_error(*tensors, 7, n_bins=BINS).item(), abs=1e-6)
        assert found.nll == pytest.approx(log_loss(drawn.labels, p, labels=range(7)), abs=1e-5)
        truth = np.eye(7)[drawn.labels]
        briers = [brier_score_loss(truth[:, c], p[:, c]) for c in range(7)]  # one against the rest
        eces = [
            binary_calibration_error(tensors[0][:, c].contiguous(), (tensors[1] == c).int(), n_bins=BINS)
            for c in range(7)
        ]
        np.testing.assert_allclose(sums.brier(), briers, atol=1e-7)
        np.testing.assert_allclose(sums.ece(), eces, atol=1e-6)
        assert found.classwise_brier == pytest.approx(np.mean(briers), abs=1e-7)
        assert found.classwise_ece == pytest.approx(np.mean(eces), abs=1e-6)
        assert found.brier == pytest.approx(((p - truth) ** 2).sum(1).mean(), abs=1e-6)


def test_a_probability_of_one_is_in_the_last_bin_and_an_edge_in_the_upper_one() -> None:
    found = Reliability.from_answers(np.array([1, 1, 0.99, 0, 1 / 3]), np.array([True, False, True, False, True]))
    assert np.flatnonzero(found.images).tolist() == [0, 5, BINS - 1] and found.images[-1] == 3
    assert found.ece == pytest.approx((abs(2 - 2.99) + abs(1 - 1 / 3)) / 5)


def test_calibrated_nets_have_the_ece_that_a_plain_simulation_gives() -> None:
    random = np.random.default_rng(5)
    p = random.beta(2, 2, 585).astype(np.float32)
    eces = []
    for _ in range(400):  # with another seed, and bin by bin
        right = random.random(585) < p
        bins = [(p >= i / BINS) & (p < (i + 1) / BINS) for i in range(BINS)]
        eces.append(sum(abs(right[of].sum() - p[of].sum()) for of in bins) / 585)
    found = simulate_calibrated(p)
    assert found.mean == pytest.approx(np.mean(eces), rel=0.03)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(eces, (2.5, 97.5))), rel=0.08)
    assert simulate_calibrated(p) == found


def test_sums_of_chunks_add_up_and_survive_their_file(drawn: Drawn) -> None:
    whole = ClassSums.from_probabilities(drawn.mean, drawn.right)
    parts = [ClassSums.from_probabilities(drawn.mean[at], drawn.right[at]) for at in (slice(0, 64), slice(64, None))]
    np.testing.assert_allclose((parts[0] + parts[1]).sums, whole.sums, rtol=1e-12)
    np.testing.assert_array_equal(ClassSums.from_bytes(whole.to_bytes()).sums, whole.sums)
    with pytest.raises(ValueError, match=r".+"):
        ClassSums.from_bytes(whole.to_bytes()[:-9])
    none = ClassSums.from_probabilities(drawn.mean[:0], drawn.right[:0])
    assert not none.ece().any() and not none.brier().any()


def test_images_without_an_answer_count_in_no_score(drawn: Drawn) -> None:
    answered = np.arange(300) % 5 > 0
    mean, views = drawn.mean.copy(), drawn.views.copy()
    mean[~answered], views[~answered] = np.nan, np.nan
    lost = [Failure("damaged_image", "it is")] * 10 + [Failure("", "")] * 290
    answered[:10] = False
    found = [
        Predictions.from_table(table)
        for table in (
            make_records(drawn.labels, mean, views, lost),
            make_records(drawn.labels[answered], mean[answered], views[answered]),
        )
    ]
    sums = ClassSums.from_probabilities(mean[answered], drawn.right[answered])
    assert measure_scores(found[0], sums) == measure_scores(found[1], sums)
    assert count_by_agreement(found[0]) == count_by_agreement(found[1])


def test_errors_by_agreement_equal_a_loop(drawn: Drawn) -> None:
    counts = [[0, 0] for _ in range(11)]
    for label, mean, views in zip(*drawn, strict=True):
        agree = sum(int(view.argmax() == mean.argmax()) for view in views)
        counts[agree][0] += 1
        counts[agree][1] += int(mean.argmax() != label)
    found = count_by_agreement(Predictions.from_table(make_records(*drawn)))
    assert [[row.views, row.images, row.wrong] for row in found] == [[i, *count] for i, count in enumerate(counts)]
    assert sum(images > 0 for images, _ in counts) > 5
