"""importers/net_reading.py: a chain of nodes is a NetConfig, and what a NetConfig cannot say is named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.tiny_source import CLASSES, CROP, TinySource

from tencrop.common.errors import BadInput
from tencrop.export.importers.net_reading import ReadNet, read_net
from tencrop.model.layer_table import layer_table, parameter_shapes
from tencrop.model.net_config import LRN, Conv, Dropout, Linear, Pool

Edit = Callable[[onnx.ModelProto], object]


def read(*edits: Edit) -> ReadNet:
    """Read the tiny net, edited."""
    model = TinySource().model()
    for edit in edits:
        edit(model)
    return read_net(model, "scores", CROP)


def insert(place: int, op: str, *more: np.ndarray, **attributes: Any) -> Edit:
    """Insert a node before the one at a place."""

    def edit(model: onnx.ModelProto) -> None:
        behind, name = model.graph.node[place], f"{op}.{len(model.graph.node)}"
        names = [f"{name}.{index}" for index, _ in enumerate(more)]
        model.graph.initializer.extend(map(numpy_helper.from_array, more, names))
        node = helper.make_node(op, [behind.input[0], *names], [name], **attributes)
        behind.input[0] = name
        model.graph.node.insert(place, node)

    return edit


def set_attributes(op: str, **attributes: Any) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == op)
        kept = [each for each in node.attribute if each.name not in attributes]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in attributes.items())])

    return edit


def share_value(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["active"], ["again"]))


def compute_weight(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Identity", ["kernels"], ["same"]))
    model.graph.node[1].input[1] = "same"


def multiply(count: int) -> list[Edit]:
    """Insert fully connected layers before the last one."""
    return [insert(5, "Gemm", np.ones((196, 196), np.float32)) for _ in range(count)]


def test_layers_and_weights_are_the_net_s() -> None:
    net, (kernels, offsets, matrix, shifts) = read(), TinySource().weights()
    assert net.config.layers == ("conv1 relu pool dropout", "fc8") and net.config.input == CROP
    assert net.config.conv1 == Conv(4, 5, stride=2) and net.config.fc8 == Linear(CLASSES)
    assert net.config.pool == Pool(2, 2) and net.config.dropout == Dropout(0.5, inverted=True)
    wanted = {"conv1.weight": kernels, "conv1.bias": offsets, "fc8.weight": matrix, "fc8.bias": shifts}
    assert net.weights.keys() == wanted.keys() == parameter_shapes(net.config).keys()
    assert all((net.weights[name] == value).all() for name, value in wanted.items())


def transpose_matrix(model: onnx.ModelProto) -> None:
    matrix = next(value for value in model.graph.initializer if value.name == "matrix")
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix).T.copy(), "matrix"))
    set_attributes("Gemm", transB=0)(model)


def remove_biases(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            del node.input[2:]


def test_a_matrix_may_be_transposed_and_biases_may_be_missing() -> None:
    plain, other = read(), read(transpose_matrix, remove_biases)
    assert (other.weights["fc8.weight"] == plain.weights["fc8.weight"]).all() and other.config == plain.config
    assert not other.weights["fc8.bias"].any() and not other.weights["conv1.bias"].any()


def set_ratio(model: onnx.ModelProto) -> None:
    """As an input, which newer opsets have."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.3, np.float32), "ratio"))
    next(node for node in model.graph.node if node.op_type == "Dropout").input.append("ratio")


def test_norms_and_numbers_are_read_in_decimals() -> None:
    norm = insert(2, "LRN", size=5, alpha=1e-4, beta=0.75, bias=1.0)
    assert read(norm).config.lrn == LRN(alpha=1e-4, k=1.0)
    assert read(norm).config.layers[0] == "conv1 relu lrn pool dropout"
    assert read(set_attributes("Dropout", ratio=0.3)).config.dropout.p == 0.3
    assert read(set_ratio).config.dropout.p == 0.3


@pytest.mark.parametrize(
    ("attributes", "op", "side"),
    [
        ({"kernel_shape": [3, 3]}, "pooldown", 6),
        ({"kernel_shape": [3, 3], "ceil_mode": 1}, "pool", 7),
        ({"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, "pool", 7),
        ({"kernel_shape": [4, 4]}, "pool", 6),
    ],
    ids=["down", "up", "padded behind", "no rest"],
)
def test_pooling_is_rounded_as_the_file_rounds_it(attributes: dict[str, Any], op: str, side: int) -> None:
    pool = layer_table(read(set_attributes("MaxPool", **attributes)).config)[2]
    assert (pool.op, pool.out_shape[1]) == (op, side)


REFUSED: dict[str, tuple[list[Edit], str]] = {
    "another operator": ([insert(1, "LeakyRelu")], "it has an operator LeakyRelu"),
    "an average": ([insert(2, "AveragePool", kernel_shape=[2, 2])], "it has an operator AveragePool"),
    "a branch": ([share_value], "it is no chain of layers: 2 take 'active'"),
    "a weight that is computed": ([compute_weight], "its Conv takes 'same', which is not stored as it is"),
    "relu first": ([insert(0, "Relu")], "relu stands before its first convolution"),
    "two norms": (
        [insert(1, "LRN", size=5), insert(3, "LRN", size=3)],
        "two of its layers lrn have different numbers",
    ),
    "an even norm": ([insert(1, "LRN", size=4)], "its LRN: size: value error, a window has a middle"),
    "a dilated convolution": ([set_attributes("Conv", dilations=[2, 2])], "a convolution of its is dilated"),
    "a padded pooling": ([set_attributes("MaxPool", pads=[1, 1, 1, 1])], "padded before"),
    "a pooling that is padded far": (
        [set_attributes("MaxPool", kernel_shape=[4, 4], pads=[0, 0, 2, 2])],
        "padded to 7 places a side, where 6 or 6 are rounded",
    ),
    "a product with factors": ([set_attributes("Gemm", alpha=2.0)], "a matrix product of its has factors"),
    "too many layers": (multiply(3), "it has 1 convolutional and 4 fully connected layers"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_net_config_says_is_named(what: str) -> None:
    edits, message = REFUSED[what]
    with pytest.raises(BadInput) as refused:
        read(*edits)
    assert message in refused.value.what


def test_an_average_over_one_place_is_nothing() -> None:
    assert read(insert(3, "AveragePool", kernel_shape=[1, 1])).config == read().config
