"""model/layer_table.py: the layers have the shapes and the parameters of the paper."""

from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import oracles
import pytest

from tencrop.common.errors import BadInput
from tencrop.model.layer_table import Layer, layer_table, parameter_shapes
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Linear, NetConfig, Pool
from tencrop.training.recipe import load

SHAPES = {  # figure 2, with the 2012 program's rounding up
    "conv1": (96, 55, 55),
    "pool1": (96, 27, 27),
    "conv2": (256, 27, 27),
    "pool2": (256, 13, 13),
    "conv3": (384, 13, 13),
    "conv4": (384, 13, 13),
    "conv5": (256, 13, 13),
    "pool5": (256, 6, 6),
    "fc6": (4096,),
    "fc7": (4096,),
    "fc8": (1000,),
}


def count_parameters(table: list[Layer]) -> int:
    total = 0
    for layer in table:
        if layer.op == "conv":
            total += layer.spec.channels * (layer.in_shape[0] // layer.spec.groups * layer.spec.kernel**2 + 1)
        if layer.op == "fc":
            total += layer.spec.units * (prod(layer.in_shape) // layer.spec.groups + 1)
    return total


@pytest.mark.parametrize("recipe", ["paper", "source145", "caltech101"])
def test_the_shapes_are_the_papers(recipe: str) -> None:
    shapes = {layer.name: layer.out_shape for layer in layer_table(load(recipe).net)}
    assert {name: shapes[name] for name in SHAPES} == SHAPES


COUNTS = {
    **dict.fromkeys(
        ["paper", "source145", "tanh", "no_lrn", "no_overlap", "no_noise", "no_dropout", "no_crops"], 60_965_224
    ),
    "one_column": 59_798_312,  # halves of conv1 to conv4; fc6 to fc8 as they were
    "no_conv4": 60_301_288,  # less 384 kernels of 3x3x192 and their biases
    "finetune146": 61_555_304,  # and 256 kernels of 3x3x256 with their biases
    "no_communication": 60_714_408,  # conv3, fc6 and fc7 see half of what is before them; conv2 and fc6 are wider
}


@pytest.mark.parametrize("recipe", COUNTS)
def test_parameters_are_counted_as_published_at_1000_classes(recipe: str) -> None:
    """60,965,224: what the 2012 program's net 145 has."""
    assert count_parameters(layer_table(load(recipe).net)) == COUNTS[recipe]


def test_without_overlap_the_maps_are_55_28_26_13_11_6() -> None:
    shapes = {layer.name: layer.out_shape for layer in layer_table(load("no_overlap").net)}
    assert [shapes[name][1] for name in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        55,
        28,
        26,
        13,
        11,
        6,
    ]
    assert shapes["pool5"] == (256, 6, 6)  # what fc6 takes in net 145


def test_one_column_is_half_as_wide_up_to_conv5() -> None:
    shapes = {layer.name: layer.out_shape for layer in layer_table(load("one_column").net)}
    assert [shapes[f"conv{i}"][0] for i in (1, 2, 3, 4, 5)] == [48, 128, 192, 192, 256]
    assert [shapes[f"fc{i}"] for i in (6, 7, 8)] == [(4096,), (4096,), (1000,)]


def test_columns_without_communication_have_no_low_rank_form() -> None:
    net = NetConfig(fc7=Linear(4096, rank=5, groups=2))
    with pytest.raises(BadInput, match=r"net\.fc7: .*no low-rank form"):
        layer_table(net)


@pytest.mark.parametrize("recipe", ["paper", "source145"])
def test_each_layer_takes_the_shape_that_the_layer_before_gives(recipe: str) -> None:
    table = layer_table(load(recipe).net)
    assert table[0].in_shape == (3, 224, 224)
    assert all(layer.in_shape == previous.out_shape for previous, layer in pairwise(table))


def test_the_layer_table_follows_layers_and_carries_their_numbers() -> None:
    net = load("source145").net
    table = layer_table(net)
    assert [layer.name for layer in table][:9] == [
        "conv1",
        "lrn1",
        "pool1",
        "relu1",
        "conv2",
        "relu2",
        "lrn2",
        "samemap2",
        "pool2",
    ]
    assert [layer.op for layer in table][-7:] == ["fc", "relu", "dropout", "fc", "relu", "dropout", "fc"]
    specs = {layer.name: layer.spec for layer in table}
    assert specs["conv4"] is net.conv4
    assert specs["lrn2"] is net.lrn
    assert specs["samemap2"] is net.samemap
    assert specs["dropout7"] is net.dropout
    assert specs["relu3"] is None


def test_paper_has_no_within_map_norm_and_relu_comes_before_the_norm() -> None:
    names = [layer.name for layer in layer_table(load("paper").net)]
    assert "samemap2" not in names
    assert names.index("relu1") < names.index("lrn1") < names.index("pool1")


def test_pooling_leaves_no_gaps() -> None:
    with pytest.raises(BadInput, match=r"net\.pool: windows of 2 that move by 3 leave gaps"):
        layer_table(NetConfig(pool=Pool(2, 3)))


def test_a_sixth_convolution_lies_between_the_last_pooling_and_fc6() -> None:
    table = [(layer.name, layer.out_shape) for layer in layer_table(load("finetune146").net)]
    assert table[15:20] == [
        ("pool5", (256, 6, 6)),
        ("conv6", (256, 6, 6)),
        ("relu_conv6", (256, 6, 6)),
        ("fc6", (4096,)),
        ("relu6", (4096,)),
    ]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_rounds_up(size: int, stride: int) -> None:
    for side in range(4, 15):
        net = NetConfig(input=8 + side, layers=("conv3 pool",), pool=Pool(size, stride))
        pool = list(layer_table(replace(net, conv3=replace(net.conv3, kernel=9, pad=(0, 0)))))[1]
        assert pool.in_shape[1:] == (side, side)
        assert pool.out_shape[1:] == oracles.max_pool(np.zeros((1, 1, side, side)), size, stride).shape[2:]


def test_two_by_two_pooling_rounds_55_up_to_28() -> None:
    shapes = {layer.name: layer.out_shape for layer in layer_table(NetConfig(pool=Pool(2, 2)))}
    assert (shapes["pool1"], shapes["pool2"], shapes["pool5"]) == ((96, 28, 28), (256, 14, 14), (256, 7, 7))


@pytest.mark.parametrize("stage", ["conv1 gelu", "softmax1", "Conv1 relu", "conv1 -relu", "12"])
def test_an_unknown_operation_is_bad_input(stage: str) -> None:
    with pytest.raises(BadInput, match=r"net\.layers"):
        layer_table(NetConfig(layers=(stage,)))


@pytest.mark.parametrize("stage", ["conv9 relu", "conv6 relu", "fc1", "conv relu", "conv1 pool7", ""])
def test_an_operation_without_numbers_is_bad_input(stage: str) -> None:
    with pytest.raises(BadInput, match=r"net\.layers"):
        layer_table(NetConfig(layers=(stage,)))


@pytest.mark.parametrize("layers", [("conv1 relu lrn relu",), ("conv3 relu", "conv3 relu"), ("fc6 relu", "fc6 relu")])
def test_an_operation_named_twice_is_bad_input(layers: tuple[str, ...]) -> None:
    """Two layers of one name would be one module in torch and two nodes in ONNX."""
    with pytest.raises(BadInput, match=r"net\.layers"):
        layer_table(NetConfig(layers=layers))


def test_pooling_behind_a_fully_connected_layer_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"net\.layers"):
        layer_table(NetConfig(layers=("fc6 pool",)))


@pytest.mark.parametrize(
    "recipe", ["paper", "source145", "no_communication", "caltech101_compact", "one_column", "pretrain146"]
)
def test_parameters_are_those_of_the_torch_net(recipe: str) -> None:
    config = load(recipe).net
    assert parameter_shapes(config) == {name: tuple(value.shape) for name, value in AlexNet(config).named_parameters()}
