"""model/lowrank.py: replaces a matrix by the best product of two."""

from dataclasses import replace

import numpy as np
import pytest

from tencrop.model.lowrank import factorise_weights
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Conv, Linear, NetConfig

NET = NetConfig(
    input=6,
    conv1=Conv(4, 3, pad=(1, 1)),
    fc6=Linear(20),
    fc7=Linear(12),
    fc8=Linear(5),
    layers=("conv1 relu", "fc6 relu", "fc7 relu", "fc8"),
)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    net = AlexNet(NET)
    net.init(3)
    return net.weights()


def ranked(rank6: int, rank7: int) -> NetConfig:
    return replace(NET, fc6=replace(NET.fc6, rank=rank6), fc7=replace(NET.fc7, rank=rank7))


def test_full_rank_is_exact(weights: dict[str, np.ndarray]) -> None:
    result = factorise_weights(weights, ranked(20, 12))
    for name in ("fc6", "fc7"):
        np.testing.assert_allclose(
            result[f"{name}.up.weight"] @ result[f"{name}.down.weight"], weights[f"{name}.weight"], atol=1e-7
        )


@pytest.mark.parametrize("rank", [1, 3, 11])
def test_the_error_is_the_smallest_that_eckart_and_young_allow(weights: dict[str, np.ndarray], rank: int) -> None:
    result = factorise_weights(weights, ranked(rank, rank))
    for name in ("fc6", "fc7"):
        full = weights[f"{name}.weight"].astype(np.float64)
        singular = np.sqrt(np.linalg.eigvalsh(full @ full.T)[::-1].clip(0))
        product = result[f"{name}.up.weight"] @ result[f"{name}.down.weight"]
        assert np.linalg.norm(full - product) == pytest.approx(np.sqrt((singular[rank:] ** 2).sum()), rel=1e-3)


def test_both_factors_have_one_scale(weights: dict[str, np.ndarray]) -> None:
    result = factorise_weights(weights, ranked(4, 4))
    up, down = result["fc6.up.weight"], result["fc6.down.weight"]
    np.testing.assert_allclose(np.linalg.norm(up, axis=0), np.linalg.norm(down, axis=1), rtol=1e-4)
    assert up.shape == (20, 4)
    assert down.shape == (4, 144)


def test_bias_moves_and_other_layers_stay_as_they_are(weights: dict[str, np.ndarray]) -> None:
    result = factorise_weights(weights, ranked(4, 0))
    np.testing.assert_array_equal(result["fc6.up.bias"], weights["fc6.bias"])
    assert not {"fc6.weight", "fc6.bias"} & set(result)
    for name in ("conv1.weight", "conv1.bias", "fc7.weight", "fc7.bias", "fc8.weight"):
        np.testing.assert_array_equal(result[name], weights[name])


def test_factorised_weights_are_passed_on(weights: dict[str, np.ndarray]) -> None:
    once = factorise_weights(weights, ranked(4, 3))
    twice = factorise_weights(once, ranked(4, 3))
    assert set(once) == set(twice)
    assert all(np.array_equal(once[name], twice[name]) for name in once)


def test_the_callers_weights_are_not_changed(weights: dict[str, np.ndarray]) -> None:
    before = {name: value.copy() for name, value in weights.items()}
    factorise_weights(weights, ranked(4, 3))
    assert set(weights) == set(before)
    assert all(np.array_equal(weights[name], before[name]) for name in before)


def test_half_precision_weights_are_factorised_in_single(weights: dict[str, np.ndarray]) -> None:
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    result = factorise_weights(halves, ranked(20, 12))
    product = result["fc6.up.weight"] @ result["fc6.down.weight"]
    np.testing.assert_allclose(product, halves["fc6.weight"].astype(np.float32), atol=1e-7)


def test_the_factors_load_into_the_net_of_that_rank(weights: dict[str, np.ndarray]) -> None:
    net = AlexNet.from_weights(ranked(4, 3), factorise_weights(weights, ranked(4, 3)))
    assert {name for name, _ in net.named_parameters()} == set(factorise_weights(weights, ranked(4, 3)))
