"""Reads the graph of a source net as a NetConfig and its weights, where our layers say the net exactly."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tencrop.common.errors import BadInput, one_line
from tencrop.common.strict_config import parse
from tencrop.export.importers.graph_rewrite import collect_constants, find_image_inputs
from tencrop.export.window import Window
from tencrop.model.net_config import LRN, Conv, Dropout, Linear, NetConfig, Pool

CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")
FCS = {1: ("fc8",), 2: ("fc6", "fc8"), 3: ("fc6", "fc7", "fc8")}  # by the number of fully connected layers


class ReadNet(NamedTuple):
    """A net by its numbers, and its parameters by the names of model/net.py, float32."""

    config: NetConfig
    weights: dict[str, np.ndarray]


class Stage(NamedTuple):
    """A layer with weights, and the operations behind it."""

    op: str  # conv or fc
    spec: Conv | Linear
    weight: np.ndarray
    bias: np.ndarray
    tokens: list[str]


@dataclass
class Chain:
    """A net under construction, one node after the other."""

    constants: Mapping[str, TensorProto]
    side: int  # of the current maps, in pixels
    stages: list[Stage] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)  # numbers that all layers of a kind have: lrn, pool, dropout

    def add(self, token: str, spec: Any = None) -> None:
        """Add an operation without weights. Raises BadInput before the first layer, or for numbers of its own."""
        if not self.stages:
            raise BadInput(f"{token} stands before its first convolution")
        if self.shared.setdefault(token, spec) != spec:
            raise BadInput(f"two of its layers {token} have different numbers: {self.shared[token]} and {spec}")
        self.stages[-1].tokens.append(token)

    def read_parameters(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray | None]:
        """The weights of a node and, if it has any, its biases."""
        weight, *bias = (numpy_helper.to_array(self.constants[name]) for name in node.input[1:] if name)
        return np.asarray(weight, np.float32), np.asarray(bias[0], np.float32).reshape(-1) if bias else None

    def open_stage(self, op: str, spec: Conv | Linear, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """Add a layer with weights. Without biases it has zeros."""
        zeros = np.zeros(len(weight), np.float32)
        self.stages.append(Stage(op, spec, weight, zeros if bias is None else zeros + bias, []))

    def build(self, crop: int) -> ReadNet:
        """Name the layers. Raises BadInput where there are more or other ones than a NetConfig has."""
        ops = [stage.op for stage in self.stages]
        convs, fcs = ops.count("conv"), ops.count("fc")
        if not 0 < convs <= len(CONVS) or fcs not in FCS or ops[-1] != "fc":
            raise BadInput(
                f"it has {convs} convolutional and {fcs} fully connected layers, and a net here 1 to {len(CONVS)} "
                f"and 1 to {len(FCS)}, a fully connected one last"
            )
        names = {"conv": iter(CONVS), "fc": iter(FCS[fcs])}
        named = {next(names[stage.op]): stage for stage in self.stages}
        layers = tuple(" ".join([name, *stage.tokens]) for name, stage in named.items())
        specs: dict[str, Any] = {name: stage.spec for name, stage in named.items()}
        numbers = {token: spec for token, spec in self.shared.items() if spec is not None}
        weights = {f"{name}.weight": stage.weight for name, stage in named.items()}
        biases = {f"{name}.bias": stage.bias for name, stage in named.items()}
        return ReadNet(replace(NetConfig(), input=crop, layers=layers, **specs, **numbers), weights | biases)


def read_net(model: onnx.ModelProto, output: str, crop: int) -> ReadNet:
    """Read the graph from its image input to the value `output`. Raises BadInput with what no NetConfig can say."""
    chain = Chain(collect_constants(model), crop)
    for node in _follow(model, chain.constants, output):
        if node.op_type not in READERS:
            raise BadInput(f"it has an operator {node.op_type}")
        READERS[node.op_type](chain, node)
    return chain.build(crop)


def _follow(model: onnx.ModelProto, constants: Mapping[str, TensorProto], output: str) -> Iterator[onnx.NodeProto]:
    """The nodes in their order. Raises BadInput where the net is no chain."""
    value = find_image_inputs(model)[0].name
    while value != output:
        users = [node for node in model.graph.node if value in node.input]
        if len(users) != 1:
            raise BadInput(f"it is no chain of layers: {len(users)} take {one_line(value)!r}")
        node = users[0]
        if other := [name for name in node.input if name not in ("", value, *constants)]:
            raise BadInput(f"its {node.op_type} takes {one_line(other[0])!r}, which is not stored as it is")
        yield node
        value = node.output[0]


def _read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _add_conv(chain: Chain, node: onnx.NodeProto) -> None:
    weight, bias = chain.read_parameters(node)
    window = Window.read(node, weight.shape[2:])
    if window is None:
        raise BadInput("a convolution of its is dilated, or not square")
    pad = window.before, window.behind
    spec = Conv(len(weight), window.size, window.stride, pad, _read_attributes(node).get("group", 1))
    chain.open_stage("conv", spec, weight, bias)
    chain.side = window.count(chain.side)


def _add_fc(chain: Chain, node: onnx.NodeProto) -> None:
    values = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | _read_attributes(node)
    weight, bias = chain.read_parameters(node)
    if (values["alpha"], values["beta"], values["transA"]) != (1.0, 1.0, 0):
        raise BadInput("a matrix product of its has factors")
    weight = weight if values["transB"] else weight.T
    chain.open_stage("fc", Linear(len(weight)), weight, bias)


def _add_pool(chain: Chain, node: onnx.NodeProto) -> None:
    """Places beyond the edge never are a maximum, so padding behind the map only adds windows."""
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    pads = tuple(_read_attributes(node).get("pads", (0, 0, 0, 0)))
    del bare.attribute[:]
    bare.attribute.extend(each for each in node.attribute if each.name != "pads")
    window = Window.read(bare)
    if window is None or pads[:2] != (0, 0) or pads[2] != pads[3]:
        raise BadInput("a pooling of its is dilated, not square, or padded before")
    side = replace(window, behind=pads[3]).count(chain.side)
    up, down = replace(window, rounds_up=True).count(chain.side), replace(window, rounds_up=False).count(chain.side)
    if side not in (up, down):
        raise BadInput(f"a pooling of its is padded to {side} places a side, where {down} or {up} are rounded")
    chain.add("pool" if side == up else "pooldown", Pool(window.size, window.stride))
    chain.side = side


def _add_lrn(chain: Chain, node: onnx.NodeProto) -> None:
    values = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0} | _read_attributes(node)
    numbers = {key: shorten(values[name]) for key, name in (("alpha", "alpha"), ("beta", "beta"), ("k", "bias"))}
    chain.add("lrn", parse(LRN, {"size": values["size"], **numbers}, "its LRN"))


def _add_dropout(chain: Chain, node: onnx.NodeProto) -> None:
    stored = numpy_helper.to_array(chain.constants[node.input[1]]) if len(node.input) > 1 and node.input[1] else 0.5
    p = shorten(_read_attributes(node).get("ratio", stored))
    chain.add("dropout", parse(Dropout, {"p": p, "inverted": True}, "its Dropout"))  # as ONNX defines it


def _pass_average(chain: Chain, node: onnx.NodeProto) -> None:
    """Adaptive pooling to as many places as there are is an average over one place."""
    values = _read_attributes(node)
    if {*values["kernel_shape"], *values.get("strides", [1])} != {1} or any(values.get("pads", ())):
        raise BadInput("it has an operator AveragePool")


def shorten(number: Any) -> float:
    """The shortest decimal number that is this float32: 0.0001, and not 9.999999747378752e-05."""
    return float(str(np.float32(number)))


READERS: dict[str, Callable[[Chain, onnx.NodeProto], None]] = {
    "Conv": _add_conv,
    "Gemm": _add_fc,
    "Relu": lambda chain, node: chain.add("relu"),
    "Tanh": lambda chain, node: chain.add("tanh"),
    "LRN": _add_lrn,
    "MaxPool": _add_pool,
    "Dropout": _add_dropout,
    "AveragePool": _pass_average,
    **dict.fromkeys(("Flatten", "Reshape", "Identity"), lambda chain, node: None),
}
