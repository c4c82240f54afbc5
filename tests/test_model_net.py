"""model/net.py: every layer and the whole net equal plain numpy, and torch's own modules where torch has them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tencrop.common.strict_config import dump, parse
from tencrop.model.layer_table import OUT_SHAPES, Layer, layer_table
from tencrop.model.net import (
    MODULES,
    AlexNet,
    Convolution,
    FullyConnected,
    LocalResponseNorm,
    LowRank,
    MaxPool,
    WithinMapResponseNorm,
)
from tencrop.model.net import Dropout as DropoutModule
from tencrop.model.net_config import LRN, Conv, Dropout, Linear, NetConfig, Pool, WithinMapLRN
from tencrop.training.recipe import load

CHANNELS = {"conv1": 8, "conv2": 12, "conv3": 16, "conv4": 16, "conv5": 8}
UNITS = {"fc6": 20, "fc7": 18, "fc8": 7}


def thin(net: NetConfig, side: int = 67) -> NetConfig:
    """The net of a recipe on smaller images, thinner."""
    convs = {name: replace(getattr(net, name), channels=channels) for name, channels in CHANNELS.items()}
    fcs = {name: replace(getattr(net, name), units=units) for name, units in UNITS.items()}
    return replace(net, input=side, **convs, **fcs)


SMALL = thin(NetConfig())


def make_layer(op: str, spec: Any, in_shape: tuple[int, ...], out_shape: tuple[int, ...] = ()) -> Layer:
    return Layer(f"{op}1", op, spec, in_shape, out_shape)


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def run(module: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def parameters(layer: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in layer.named_parameters()}


@pytest.mark.parametrize(
    "spec",
    [
        Conv(4, 11, stride=4, pad=(0, 3)),
        Conv(6, 5, pad=(2, 2), groups=2),
        Conv(6, 3, pad=(1, 1)),
        Conv(4, 3, stride=2, pad=(0, 1), groups=2),
        Conv(4, 5, stride=2, pad=(3, 1)),
        Conv(4, 2, pad=(3, 0)),
    ],
)
def test_convolution_equals_a_sum_over_windows(spec: Conv) -> None:
    x = numbers(2, 4, 20, 20)
    layer = Convolution(make_layer("conv", spec, (4, 20, 20)))
    weights = parameters(layer)
    expected = oracles.conv(
        x.astype(np.float64), weights["weight"], weights["bias"], spec.stride, spec.pad, spec.groups
    )
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


def test_conv1_pads_zeros_on_the_right_and_the_bottom_only() -> None:
    layer = Convolution(make_layer("conv", Conv(1, 11, stride=4, pad=(0, 3)), (1, 224, 224)))
    for name, value in (("weight", 1), ("bias", 0)):
        torch.nn.init.constant_(layer.get_parameter(name), value)
    sums = run(layer, np.ones((1, 1, 224, 224), np.float32))[0, 0]
    assert sums.shape == (55, 55)
    assert sums[0, 0] == 11 * 11  # nothing before the first pixel
    assert sums[54, 0] == sums[0, 54] == 11 * 8
    assert sums[54, 54] == 8 * 8


@pytest.mark.parametrize("pad", [(0, 3), (4, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_pass_through_the_padding(layout: torch.memory_format, pad: tuple[int, int]) -> None:
    layer = Convolution(make_layer("conv", Conv(4, 5, stride=4, pad=pad), (3, 14, 14)))
    ours = torch.from_numpy(numbers(2, 3, 14, 14)).contiguous(memory_format=layout).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    y = layer(ours)
    z = F.conv2d(F.pad(theirs, pad * 2), layer.weight, layer.bias, 4)
    up = torch.from_numpy(numbers(*y.shape, seed=1))
    gradients = torch.autograd.grad(y, [ours, layer.weight], up)
    for one, other in zip(gradients, torch.autograd.grad(z, [theirs, layer.weight], up), strict=True):
        torch.testing.assert_close(one, other)


def test_a_column_sees_only_its_own_half() -> None:
    layer = Convolution(make_layer("conv", Conv(6, 3, pad=(1, 1), groups=2), (4, 9, 9)))
    x = numbers(1, 4, 9, 9)
    changed = x.copy()
    changed[:, 2:] += 1  # the second column's maps
    difference = np.abs(run(layer, changed) - run(layer, x)).max((0, 2, 3))
    assert (difference[:3] == 0).all()
    assert (difference[3:] > 0).all()


def test_conv3_and_the_fully_connected_layers_see_both_columns() -> None:
    net = NetConfig()
    assert [spec.groups for spec in (net.conv1, net.conv2, net.conv3, net.conv4, net.conv5)] == [1, 2, 1, 2, 2]


def test_fully_connected_flattens_channel_by_channel() -> None:
    layer = FullyConnected(make_layer("fc", Linear(5), (3, 2, 2)))
    weights, x = parameters(layer), numbers(4, 3, 2, 2)
    expected = (
        np.stack([[(w.reshape(3, 2, 2) * image).sum() for w in weights["weight"]] for image in x]) + weights["bias"]
    )
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-6)


@pytest.mark.parametrize("before", [(4, 3, 3), (36,)])
def test_fully_connected_columns_equal_a_product_for_each_half(before: tuple[int, ...]) -> None:
    layer = MODULES["fc"](make_layer("fc", Linear(6, groups=2), before))
    weights, x = parameters(layer), numbers(5, *before)
    assert weights["weight"].shape == (6, 18)
    first, second = x.reshape(5, 2, 18).astype(np.float64).transpose(1, 0, 2)
    expected = np.hstack([first @ weights["weight"][:3].T, second @ weights["weight"][3:].T]) + weights["bias"]
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-6)


def test_a_fully_connected_column_sees_only_its_own_half() -> None:
    layer = MODULES["fc"](make_layer("fc", Linear(6, groups=2), (4, 3, 3)))
    x = numbers(1, 4, 3, 3)
    for maps, changes in ((slice(0, 2), [True] * 3 + [False] * 3), (slice(2, 4), [False] * 3 + [True] * 3)):
        changed = x.copy()
        changed[:, maps] += 1
        assert (run(layer, changed) != run(layer, x))[0].tolist() == changes


def test_low_rank_equals_the_product_of_its_matrices() -> None:
    layer, x = LowRank(make_layer("fc", Linear(7, rank=3), (2, 4, 4))), numbers(5, 2, 4, 4)
    weights = parameters(layer)
    assert set(weights) == {"down.weight", "up.weight", "up.bias"}
    product = weights["up.weight"] @ weights["down.weight"]
    assert np.linalg.matrix_rank(product) == 3
    np.testing.assert_allclose(run(layer, x), x.reshape(5, -1) @ product.T + weights["up.bias"], atol=1e-6)


LRNS = [
    LRN(),
    LRN(alpha_divided=False),
    LRN(groups=2),
    LRN(alpha=0.3),
    LRN(alpha=0.3, groups=2, alpha_divided=False),
    LRN(size=3, alpha=0.5, beta=0.6, k=1.0),
]


@pytest.mark.parametrize("spec", LRNS)
def test_local_response_norm_equals_the_formula(spec: LRN) -> None:
    x = numbers(2, 12, 3, 3, scale=20)
    expected = oracles.lrn(x.astype(np.float64), spec.size, spec.alpha_each, spec.beta, spec.k, spec.groups)
    np.testing.assert_allclose(run(LocalResponseNorm(make_layer("lrn", spec, (12, 3, 3))), x), expected, rtol=2e-6)


@pytest.mark.parametrize("spec", [spec for spec in LRNS if spec.groups == 1])
def test_local_response_norm_equals_torchs_own(spec: LRN) -> None:
    x = numbers(2, 12, 3, 3, scale=20)
    alpha = spec.alpha if spec.alpha_divided else spec.alpha * spec.size  # torch divides
    expected = F.local_response_norm(torch.from_numpy(x), spec.size, alpha, spec.beta, spec.k).numpy()
    np.testing.assert_allclose(run(LocalResponseNorm(make_layer("lrn", spec, (12, 3, 3))), x), expected, rtol=2e-6)


@pytest.mark.parametrize("spec", [LRN(), LRN(alpha_divided=False)])
def test_local_response_norm_of_activations_of_900_is_finite_in_fp16(spec: LRN) -> None:
    """The squares of such activations, 810,000, exceed fp16's largest number, 65,504."""
    x = np.random.default_rng(0).choice([-900, 900, 300, 1], (2, 12, 3, 3)).astype(np.float32)
    expected = oracles.lrn(x.astype(np.float64), 5, spec.alpha_each, 0.75, 2.0, 1)
    norm = LocalResponseNorm(make_layer("lrn", spec, (12, 3, 3)))
    np.testing.assert_allclose(run(norm.half(), x.astype(np.float16)), expected, rtol=5e-3)
    with torch.autocast("cpu", torch.float16):  # as in training: the activations are fp16, the module is not
        np.testing.assert_allclose(run(norm.float(), x.astype(np.float16)), expected, rtol=5e-3)


def test_the_norm_inside_columns_does_not_cross_them() -> None:
    x = numbers(1, 8, 2, 2, scale=50)
    louder = x.copy()
    louder[:, 4:] *= 3
    for columns, crosses in ((1, True), (2, False)):
        layer = LocalResponseNorm(make_layer("lrn", LRN(alpha=0.3, groups=columns), (8, 2, 2)))
        changed = (run(layer, louder) != run(layer, x)).any((0, 2, 3))
        assert changed[2:4].all() == crosses
        assert not changed[:2].any()


def test_gradient_of_local_response_norm_equals_torchs_own() -> None:
    ours = torch.from_numpy(numbers(2, 8, 3, 3, scale=20)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    up = torch.from_numpy(numbers(2, 8, 3, 3, seed=1))
    LocalResponseNorm(make_layer("lrn", LRN(alpha=0.1), (8, 3, 3)))(ours).backward(up)
    F.local_response_norm(theirs, 5, 0.1, 0.75, 2.0).backward(up)  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "spec", [WithinMapLRN(), WithinMapLRN(alpha=5.0), WithinMapLRN(size=3, alpha=2.0, beta=0.5, k=2.0)]
)
def test_within_map_norm_equals_the_formula_up_to_the_edge(spec: WithinMapLRN) -> None:
    x = numbers(2, 3, 7, 7, scale=20)
    expected = oracles.within_map_lrn(x.astype(np.float64), spec.size, spec.alpha, spec.beta, spec.k)
    np.testing.assert_allclose(
        run(WithinMapResponseNorm(make_layer("samemap", spec, (3, 7, 7))), x), expected, rtol=2e-6
    )


def test_within_map_norm_counts_the_zeros_beyond_the_edge() -> None:
    x = np.full((1, 1, 9, 9), 10.0, np.float32)
    y = run(WithinMapResponseNorm(make_layer("samemap", WithinMapLRN(), (1, 9, 9))), x)[0, 0]
    assert y[0, 0] == pytest.approx(10 / (1 + 1e-3 / 25 * 9 * 100) ** 0.75)  # 3x3 of the window lie inside
    assert y[4, 4] == pytest.approx(10 / (1 + 1e-3 / 25 * 25 * 100) ** 0.75)


POOLS = [(Pool(3, 2), 13), (Pool(3, 2), 12), (Pool(2, 2), 9), (Pool(2, 2), 8), (Pool(3, 1), 6)]


@pytest.mark.parametrize(("spec", "side"), POOLS)
def test_max_pool_equals_a_maximum_over_windows(spec: Pool, side: int) -> None:
    x = numbers(2, 3, side, side) - 5  # all negative: a zero of the padding would win
    expected = oracles.max_pool(x.astype(np.float64), spec.size, spec.stride)
    np.testing.assert_array_equal(
        run(MaxPool(make_layer("pool", spec, (3, side, side))), x), expected.astype(np.float32)
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("spec", "side"), POOLS)
def test_values_and_gradients_of_max_pool_equal_torchs_own(spec: Pool, side: int, layout: torch.memory_format) -> None:
    x = torch.from_numpy(numbers(2, 3, side, side)).round(decimals=1).contiguous(memory_format=layout)  # with ties
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = MaxPool(make_layer("pool", spec, (3, side, side)))(ours)
    z = F.max_pool2d(theirs, spec.size, spec.stride, ceil_mode=True)
    torch.testing.assert_close(y, z, rtol=0, atol=0)
    up = torch.from_numpy(numbers(*y.shape, seed=1))
    y.backward(up)
    z.backward(up)  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("spec", "side"), POOLS)
def test_max_pool_rounded_down_equals_torchs_own(spec: Pool, side: int) -> None:
    x = torch.from_numpy(numbers(2, 3, side, side)).requires_grad_()
    layer = make_layer("pooldown", spec, (3, side, side))
    y, z = MaxPool(layer)(x), F.max_pool2d(x, spec.size, spec.stride)
    assert torch.equal(y, z) and OUT_SHAPES["pooldown"]((3, side, side), spec) == y.shape[1:]
    gradients = [torch.autograd.grad(each.square().sum(), x)[0] for each in (y, z)]
    assert torch.equal(*gradients)


def test_scale_multiplies_each_channel_before_conv1() -> None:
    scaled = AlexNet(replace(SMALL, scale=(0.5, 0.25, 2.0))).eval()
    plain = AlexNet(SMALL).eval()
    plain.load_state_dict(scaled.state_dict())
    x = torch.from_numpy(numbers(2, 3, 67, 67))
    factors = torch.tensor([0.5, 0.25, 2.0])[:, None, None]
    with torch.no_grad():
        assert torch.equal(scaled(x), plain(x * factors)) and not torch.equal(scaled(x), plain(x))


def test_fields_of_imported_nets_are_left_out_of_the_stored_form_of_others() -> None:
    net = replace(SMALL, scale=(0.5, 0.25, 2.0), pooldown=Pool(2, 2), dropout=Dropout(0.2, inverted=True))
    assert not {"scale", "pooldown", "inverted"} & {*dump(SMALL), *dump(SMALL)["dropout"]}
    assert parse(NetConfig, dump(net), "") == net and parse(NetConfig, dump(SMALL), "") == SMALL


def test_dropout_is_not_inverted() -> None:
    dropout = DropoutModule(make_layer("dropout", Dropout(0.5), (10_000,)))
    x = torch.full((1, 10_000), 3.0)
    torch.manual_seed(0)
    kept = dropout(x)
    assert set(kept.unique().tolist()) == {0.0, 3.0}  # masked, not scaled
    assert (dropout.eval()(x) == 1.5).all()  # scaled, not masked


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_masks_a_share_of_p_and_its_mean_is_that_of_the_test(p: float) -> None:
    dropout = DropoutModule(make_layer("dropout", Dropout(p), (100_000,)))
    x = torch.ones(1, 100_000)
    torch.manual_seed(0)
    assert float(dropout(x).mean()) == pytest.approx(1 - p, abs=0.01)
    assert float(dropout.eval()(x).mean()) == pytest.approx(1 - p)


def test_inverted_dropout_divides_what_it_keeps_and_leaves_the_test_alone() -> None:
    dropout = DropoutModule(make_layer("dropout", Dropout(0.2, inverted=True), (10_000,)))
    x = torch.full((1, 10_000), 3.0)
    torch.manual_seed(0)
    kept = dropout(x)
    assert set(kept.unique().tolist()) == {0.0, 3.75} and float(kept.mean()) == pytest.approx(3, abs=0.05)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_draws_anew_for_each_image_and_each_call() -> None:
    dropout = DropoutModule(make_layer("dropout", Dropout(), (64,)))
    torch.manual_seed(0)
    first, second = dropout(torch.ones(2, 64)), dropout(torch.ones(2, 64))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_dropout_passes_gradient_through_kept_units_only() -> None:
    dropout = DropoutModule(make_layer("dropout", Dropout(), (64,)))
    x = torch.ones(1, 64, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach())


def forward(net: NetConfig, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The net at test time, by the oracles alone; the order is written out here, not read from the layer table."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def conv(x: np.ndarray, name: str, spec: Conv) -> np.ndarray:
        return oracles.conv(x, w[f"{name}.weight"], w[f"{name}.bias"], spec.stride, spec.pad, spec.groups)

    def norm(x: np.ndarray) -> np.ndarray:
        return oracles.lrn(x, 5, net.lrn.alpha_each, 0.75, 2.0, net.lrn.groups)

    def pool(x: np.ndarray) -> np.ndarray:
        return oracles.max_pool(x, net.pool.size, 2)

    def fc(x: np.ndarray, name: str, columns: int = 1) -> np.ndarray:
        pairs = zip(np.split(x.reshape(len(x), -1), columns, 1), np.split(w[f"{name}.weight"], columns), strict=True)
        return np.concatenate([own @ weight.T for own, weight in pairs], 1) + w[f"{name}.bias"]

    def relu(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(x) if "tanh" in net.layers[0] else np.maximum(x, 0))

    x = conv(x.astype(np.float64), "conv1", net.conv1)
    if net.lrn.groups == 2:  # source145
        x = relu(pool(norm(x)))
        x = norm(relu(conv(x, "conv2", net.conv2)))
        x = pool(oracles.within_map_lrn(x, 5, 1e-3, 0.75, 1.0))
    else:
        x = pool(norm(relu(x)))
        x = pool(norm(relu(conv(x, "conv2", net.conv2))))
    x = relu(conv(x, "conv3", net.conv3))
    x = relu(conv(x, "conv4", net.conv4))
    x = pool(relu(conv(x, "conv5", net.conv5)))
    x = relu(conv(x, "conv6", net.conv6)) if net.conv6 else x
    x = 0.5 * relu(fc(x, "fc6", net.fc6.groups))
    x = 0.5 * relu(fc(x, "fc7", net.fc7.groups))
    return fc(x, "fc8")


WHOLE = ["paper", "source145", "caltech101", "no_communication", "no_overlap", "tanh", "finetune146"]


@pytest.mark.parametrize("recipe", WHOLE)
def test_the_whole_net_equals_numpy(recipe: str) -> None:
    net = thin(load(recipe).net, 99 if recipe == "no_overlap" else 67)
    alexnet = AlexNet(net)
    alexnet.init(5)
    for p in alexnet.parameters():
        p.data *= 16 if recipe == "tanh" else 4  # so that both norms have something to do
    x = numbers(2, 3, net.input, net.input, scale=60)
    expected = forward(net, alexnet.weights(), x)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(run(alexnet.eval(), x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("recipe", ["paper", "source145", "caltech101", "finetune146"])
def test_initial_weights_and_biases_are_the_recipes(recipe: str) -> None:
    narrow = {
        name: replace(getattr(load(recipe).net, name), units=units)
        for name, units in (("fc6", 64), ("fc7", 600), ("fc8", 300))
    }
    alexnet = AlexNet(replace(load(recipe).net, **narrow))
    alexnet.init(0)
    weights = alexnet.weights()
    wide = () if recipe == "paper" else ("conv3", "conv4", "conv5", "conv6")
    sixth = ("conv6",) if recipe == "finetune146" else ()
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", *sixth, "fc6", "fc7", "fc8"):
        weight, std = weights[f"{name}.weight"], 0.03 if name in wide else 0.01
        assert weight.std() == pytest.approx(std, rel=0.02), name
        assert abs(weight.mean()) < 5 * std / np.sqrt(weight.size), name
        assert np.abs(weight).max() > 3.4 * std, name  # a Gaussian's tail, not a uniform's
        expected_bias = 1 if name in ("conv2", "conv4", "conv5", "conv6", "fc6", "fc7") else 0
        assert (weights[f"{name}.bias"] == expected_bias).all(), name


def test_both_matrices_of_a_low_rank_layer_are_drawn() -> None:
    net = thin(load("pretrain146").net)
    alexnet = AlexNet(replace(net, fc7=replace(net.fc7, units=600), fc8=replace(net.fc8, units=300, rank=200)))
    alexnet.init(0)
    weights = alexnet.weights()
    for name, shape in (("down", (200, 600)), ("up", (300, 200))):
        assert weights[f"fc8.{name}.weight"].shape == shape
        assert weights[f"fc8.{name}.weight"].std() == pytest.approx(0.01, rel=0.02)
    assert not weights["fc8.up.bias"].any()


@pytest.mark.parametrize("recipe", ["tanh", "figure1_tanh"])
def test_biases_of_a_tanh_net_begin_at_0(recipe: str) -> None:
    alexnet = AlexNet(thin(load(recipe).net))
    alexnet.init(0)
    assert not any(value.any() for name, value in alexnet.weights().items() if name.endswith("bias"))


def test_columns_without_communication_begin_like_any_other_layer() -> None:
    net = load("no_communication").net
    alexnet = AlexNet(replace(thin(net), fc6=replace(net.fc6, units=64), fc7=replace(net.fc7, units=600)))
    alexnet.init(0)
    assert alexnet.weights()["fc7.weight"].shape == (600, 32)
    assert alexnet.weights()["fc7.weight"].std() == pytest.approx(0.01, rel=0.02)
    assert (alexnet.weights()["fc7.bias"] == 1).all()


def test_the_seed_decides_the_initial_weights() -> None:
    net = SMALL
    a, b, c = AlexNet(net), AlexNet(net), AlexNet(net)
    a.init(1)
    torch.manual_seed(99)  # torch's own state has no say
    b.init(1)
    c.init(2)
    assert all(np.array_equal(a.weights()[name], b.weights()[name]) for name in a.weights())
    assert not np.array_equal(a.weights()["fc7.weight"], c.weights()["fc7.weight"])


def test_two_layers_of_one_shape_begin_with_different_weights() -> None:
    net = replace(SMALL, fc6=Linear(32), fc7=Linear(32), fc8=Linear(32))
    alexnet = AlexNet(net)
    alexnet.init(1)
    assert not np.array_equal(alexnet.weights()["fc7.weight"], alexnet.weights()["fc8.weight"])


COUNTS = [("paper", 60_965_224), ("source145", 60_965_224), ("no_overlap", 60_965_224), ("one_column", 59_798_312)]


@pytest.mark.parametrize(("recipe", "count"), [*COUNTS, ("no_communication", 60_714_408)])
def test_the_module_has_its_parameters_at_1000_classes(recipe: str, count: int) -> None:
    with torch.device("meta"):
        alexnet = AlexNet(load(recipe).net)
    assert sum(p.numel() for p in alexnet.parameters()) == count


def test_weights_are_the_parameters_alone() -> None:
    alexnet = AlexNet(SMALL)
    layers = [layer.name for layer in layer_table(alexnet.config) if layer.op in ("conv", "fc")]
    assert set(alexnet.weights()) == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert set(alexnet.state_dict()) == set(alexnet.weights())


def test_weights_do_not_change_when_training_goes_on() -> None:
    alexnet = AlexNet(SMALL)
    before = alexnet.weights()["fc8.bias"]
    kept = before.copy()
    with torch.no_grad():
        alexnet.get_parameter("fc8.bias").add_(1)
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_from_weights_gives_the_same_net_in_fp32_ready_to_predict(kind: type) -> None:
    alexnet = AlexNet(SMALL)
    weights: dict[str, np.ndarray] = {name: value.astype(kind) for name, value in alexnet.weights().items()}
    again = AlexNet.from_weights(alexnet.config, weights)
    assert not again.training
    for name, value in again.weights().items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, weights[name].astype(np.float32))


def test_bfloat16_stays_close_to_fp32() -> None:
    alexnet = AlexNet(thin(load("source145").net)).eval()
    alexnet.init(5)
    x = numbers(2, 3, 67, 67, scale=60)
    exact = run(alexnet, x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = run(lambda x: alexnet(x).float(), x)
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()
