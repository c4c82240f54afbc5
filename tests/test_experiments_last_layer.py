"""experiments/last_layer.py: the fit of the last layer, with classes weighted by their shares."""

import pytest
import torch

from experiments.last_layer import Layer, Views, fit
from experiments.rare_classes import measure_errors

OWN = Layer(torch.zeros(2, 1), torch.zeros(2))


@pytest.fixture(scope="module")
def views() -> Views:
    """Images of one feature: 90 of class 0 around 0, and 10 of class 1 around 1, so near that they overlap."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 90 + [1] * 10)
    features = labels[:, None, None] + torch.randn((100, 10, 1), generator=draw)
    return Views(features, labels)


def test_a_weight_by_classes_helps_the_rare_class(views: Views) -> None:
    answers = [fit(OWN, views, power, 0).answer(views.features) for power in (0, 1)]
    plain, weighted = (measure_errors(answer, views.labels.numpy())[1] for answer in answers)
    assert plain == 0.5  # it is never named
    assert weighted < 0.2


def test_the_pull_keeps_the_layer_near_its_start(views: Views) -> None:
    moved = [float((fit(OWN, views, 1, pull).weight - OWN.weight).norm()) for pull in (0, 0.1, 1e4)]
    assert moved == sorted(moved, reverse=True) and 0 < moved[2] < 1e-3 < moved[1] < 0.9 * moved[0]
