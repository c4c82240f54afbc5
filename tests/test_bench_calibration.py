"""bench/calibration.py: the table of the coverages, on answers that are made up."""

import numpy as np
import pytest
from oracles import softmax

from bench.calibration import print_coverages
from tencrop.evaluation.confidence_fit import Answers

N, CLASSES = 800, 10


def test_each_kind_of_set_has_its_coverage_and_size_on_the_other_half(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(24)
    mean = softmax(random.normal(0, 1, (N, CLASSES))).astype(np.float32)
    labels = (random.random((N, 1)) > mean.cumsum(1)).sum(1).clip(0, CLASSES - 1)
    print_coverages(Answers(mean, mean[:, None].repeat(10, 1), labels), halves=20)
    lines = capsys.readouterr().out.strip().splitlines()
    head, line, *rows = [[cell.strip() for cell in each.strip("|").split("|")] for each in lines]
    assert head[4:] == ["labels in a set", "randomized APS: reached", "labels", "RAPS: reached", "labels"]
    assert len(rows) == 3 and {len(row) for row in (head, line, *rows)} == {9}
    for asked, reached, _, _, size, *others in np.array(rows, float):
        assert [reached, *others[::2]] == pytest.approx([asked] * 3, abs=0.02)
        assert all(size - 1 < each < CLASSES for each in others[1::2])
