"""model/metrics.py: counts of wrong answers that add up exactly."""

import numpy as np
import pytest

from tencrop.model.metrics import ClassCounts, ErrorCounts, count_agreement, top_k


def test_ties_go_to_the_lower_index() -> None:
    row = np.array([[0.1, 0.3, 0.3, 0.0, 0.3]])
    assert top_k(row).tolist() == [[1, 2, 4, 0, 3]]
    assert top_k(np.zeros((1, 50)), 5).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_top_k_sorts_each_row_by_its_own_values(kind: type) -> None:
    values: np.ndarray = np.random.default_rng(0).integers(0, 6, (40, 9)).astype(kind)  # many ties
    for row, top in zip(values, top_k(values, 4), strict=True):
        expected = sorted(range(9), key=lambda i: (-row[i], i))[:4]
        assert top.tolist() == expected


def test_fewer_classes_than_k_give_them_all() -> None:
    assert top_k(np.array([[0.2, 0.5, 0.3]])).tolist() == [[1, 2, 0]]


def test_agreement_counts_the_views_whose_first_label_is_the_answer() -> None:
    views = np.array([[[0.2, 0.5, 0.3], [0.5, 0.5, 0.0], [0.1, 0.2, 0.7]], [[0.0, 0.0, 1.0]] * 3])
    assert count_agreement(np.array([1, 2]), views).tolist() == [1, 3]
    assert count_agreement(np.array([0, 0]), views).tolist() == [1, 0]  # a tie goes to the lower index


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [slice(None), 0, 1, 2], ids=["all", "0", "1", "2"])
def test_a_row_that_is_not_all_numbers_is_wrong(where: int | slice, worst: float) -> None:
    rows = np.array([[0.2, 0.5, 0.3]] * 2)
    rows[1, where] = worst
    assert top_k(rows).tolist() == [[1, 2, 0], [-1, -1, -1]]
    assert top_k(rows[1]).tolist() == [-1, -1, -1]
    for label in range(3):
        counts = ErrorCounts.from_top_k(top_k(rows), np.array([1, label]))
        assert counts == ErrorCounts(n=2, top1_wrong=1, top5_wrong=1)


def test_counts_are_the_images_that_missed_the_first_and_the_first_five() -> None:
    top = np.array([[7, 1, 2, 3, 4], [1, 7, 2, 3, 4], [1, 2, 3, 4, 7], [1, 2, 3, 4, 5]])
    assert ErrorCounts.from_top_k(top, np.array([7, 7, 7, 7])) == ErrorCounts(n=4, top1_wrong=3, top5_wrong=1)


def test_an_undecodable_image_is_wrong_in_both() -> None:
    top = np.array([[0, 1, 2, 3, 4], [-1, -1, -1, -1, -1]])
    assert ErrorCounts.from_top_k(top, np.array([0, 0])) == ErrorCounts(2, 1, 1)


def test_a_sixth_guess_does_not_count() -> None:
    assert ErrorCounts.from_top_k(np.array([[0, 1, 2, 3, 4, 5]]), np.array([5])) == ErrorCounts(1, 1, 1)


def test_top5_of_three_classes_misses_nothing() -> None:
    assert ErrorCounts.from_top_k(top_k(np.array([[0.2, 0.5, 0.3]])), np.array([0])) == ErrorCounts(1, 1, 0)


def test_merging_parts_equals_counting_the_whole() -> None:
    random = np.random.default_rng(0)
    top, labels = top_k(random.random((100, 10))), random.integers(0, 10, 100)
    merged = sum(
        (ErrorCounts.from_top_k(top[start : start + 7], labels[start : start + 7]) for start in range(0, 100, 7)),
        ErrorCounts(),
    )
    assert merged == ErrorCounts.from_top_k(top, labels)
    assert merged.n == 100


def test_errors_are_fractions_of_every_listed_image() -> None:
    counts = ErrorCounts(8, 6, 2)
    assert counts.to_dict() == {"top1_error": 0.75, "top5_error": 0.25}


def test_without_images_both_errors_are_zero() -> None:
    assert ErrorCounts().to_dict() == {"top1_error": 0.0, "top5_error": 0.0}


def test_mean_over_classes_equals_a_plain_loop() -> None:
    random = np.random.default_rng(5)
    labels = np.sort((random.random(300) ** 3 * 12).astype(np.int32))  # large classes and small ones
    labels[labels == 4] = 5  # a class without images
    top = np.array([random.permutation(14)[:5] for _ in labels])
    top[::7] = -1  # without an answer
    top[:200:2, 0] = labels[:200:2]
    first, five = [], []
    for label in range(14):
        rows = top[labels == label]
        if len(rows):
            first.append(np.mean([row[0] != label for row in rows]))
            five.append(np.mean([label not in row for row in rows]))
    assert len(first) == 11
    found = ClassCounts.from_hits(top == labels[:, None], labels).mean_error()
    assert found.top1_error == pytest.approx(np.mean(first), abs=1e-15)
    assert found.top5_error == pytest.approx(np.mean(five), abs=1e-15)
    assert found.top1_error != pytest.approx(ErrorCounts.from_top_k(top, labels).top1_error, abs=1e-3)
    shuffled = random.permutation(len(labels))
    assert ClassCounts.from_hits((top == labels[:, None])[shuffled], labels[shuffled]).mean_error() == found


def test_mean_over_classes_of_a_large_and_a_small_class_counts_them_alike() -> None:
    top, labels = np.array([[0]] * 9 + [[0]]), np.array([0] * 9 + [3])
    found = ClassCounts.from_hits(top == labels[:, None], labels).mean_error()
    assert (found.top1_error, found.top5_error) == (0.5, 0.5)
    assert ErrorCounts.from_top_k(top, labels).top1_error == 0.1
