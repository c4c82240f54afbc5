"""experiments/retrieval.py: its average precision is scikit-learn's."""

import numpy as np
from sklearn.metrics import average_precision_score

from experiments.retrieval import average_precision


def test_average_precision_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    distances, right = random.random((20, 50)), random.random((20, 50)) < 0.2
    right[:, 0] = True
    found = average_precision(distances, right)
    np.testing.assert_allclose(found, [average_precision_score(r, -d) for d, r in zip(distances, right, strict=True)])
    assert found.min() < 0.5 < average_precision(~right * 1.0, right).min()
