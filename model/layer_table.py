"""The net as a table of layers with their shapes, which torch, ONNX and the checkpoint all follow."""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput
from tencrop.model.net_config import NO_SCALE, Conv, Linear, NetConfig, Pool

Shape = tuple[int, ...]  # (channels, height, width), or (units,) behind the first fully connected layer


class Layer(NamedTuple):
    """One operation of the net. `spec` is its part of the NetConfig, None for an operation without numbers."""

    name: str  # scale, conv1, relu1, lrn1, pool1, conv2, ...
    op: str  # scale, conv, fc, relu, tanh, lrn, samemap, pool, pooldown, dropout
    spec: Any
    in_shape: Shape
    out_shape: Shape


def layer_table(config: NetConfig) -> list[Layer]:
    """The layers of a net in their order. A scale other than 1 comes first.

    Raises BadInput for an unknown operation, for a layer that is listed twice, and for sizes that do not fit.
    """
    shape: Shape = (3, config.input, config.input)
    layers = {} if config.scale == NO_SCALE else {"scale": Layer("scale", "scale", config.scale, shape, shape)}
    for stage, token, name, op in _parse(config.layers):
        spec = getattr(config, token, None)
        if spec is None and op not in PLAIN:
            raise BadInput(f"net.layers: the net has no {token!r} (in {stage!r})")
        if name in layers:
            raise BadInput(f"net.layers: {token!r} stands twice in {stage!r}")
        if len(shape) == 1 and op in MAPS_ONLY:
            raise BadInput(f"net.layers: {token!r} in {stage!r} stands behind a fully connected layer")
        layers[name] = Layer(name, op, spec, shape, OUT_SHAPES[op](shape, spec))
        _check_sizes(layers[name], token)
        shape = layers[name].out_shape
    return list(layers.values())


def parameter_shapes(config: NetConfig) -> dict[str, Shape]:
    """The shape of each parameter, by its name in a checkpoint. Raises BadInput as `layer_table` does."""
    shapes: dict[str, Shape] = {}
    for name, op, spec, in_shape, out_shape in layer_table(config):
        if op == "conv":
            shapes |= _weight_and_bias(name, (spec.channels, in_shape[0] // spec.groups, spec.kernel, spec.kernel))
        elif op == "fc" and spec.rank:
            shapes |= {f"{name}.down.weight": (spec.rank, prod(in_shape))}
            shapes |= _weight_and_bias(f"{name}.up", (*out_shape, spec.rank))
        elif op == "fc":
            shapes |= _weight_and_bias(name, (*out_shape, prod(in_shape) // spec.groups))
    return shapes


def _parse(stages: tuple[str, ...]) -> Iterator[tuple[str, str, str, str]]:
    """(stage, token, name, operation) of each token. A name ends with the number of its stage: relu -> relu1.

    The number 6 is that of fc6, in nets with a conv6 too. There the name is relu_conv6.
    """
    for stage in stages:
        tokens = stage.split() or [""]
        number = "_conv6" if tokens[0] == "conv6" else tokens[0][-1:]
        for token in tokens:
            op = token.rstrip("0123456789")
            if op not in OUT_SHAPES:
                raise BadInput(f"net.layers: {token!r} in {stage!r} is none of {', '.join(OUT_SHAPES)}")
            yield stage, token, token if token == "conv6" else op + number, op


def _check_sizes(layer: Layer, token: str) -> None:
    if layer.op == "fc" and layer.spec.rank and layer.spec.groups > 1:
        raise BadInput(f"net.{token}: a layer whose columns do not see each other has no low-rank form")
    if layer.op == "pool" and layer.spec.stride > layer.spec.size:  # ONNX and its runtimes disagree on their number
        raise BadInput(f"net.{token}: windows of {layer.spec.size} that move by {layer.spec.stride} leave gaps")
    if min(layer.out_shape) < 1:
        raise BadInput(f"net.{token}: nothing is left of {layer.in_shape} behind it")
    groups = getattr(layer.spec, "groups", 1)
    inputs = prod(layer.in_shape) if layer.op == "fc" else layer.in_shape[0]
    if inputs % groups or layer.out_shape[0] % groups:
        raise BadInput(
            f"net.{token}: {layer.in_shape} or {layer.out_shape} behind it does not divide into {groups} columns"
        )


def _weight_and_bias(name: str, weight: Shape) -> dict[str, Shape]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _conv_out(shape: Shape, conv: Conv) -> Shape:
    side = (shape[1] + sum(conv.pad) - conv.kernel) // conv.stride + 1
    return conv.channels, side, side


def _fc_out(shape: Shape, fc: Linear) -> Shape:
    return (fc.units,)


def _pool_out(shape: Shape, pool: Pool) -> Shape:
    side = -((pool.size - shape[1]) // pool.stride) + 1  # rounded up
    return shape[0], side, side


def _pooldown_out(shape: Shape, pool: Pool) -> Shape:
    side = (shape[1] - pool.size) // pool.stride + 1
    return shape[0], side, side


PLAIN = ("relu", "tanh")  # operations without numbers
MAPS_ONLY = ("conv", "pool", "pooldown", "lrn", "samemap")  # operations on [channels, height, width]

OUT_SHAPES: dict[str, Any] = {
    "conv": _conv_out,
    "fc": _fc_out,
    "pool": _pool_out,
    "pooldown": _pooldown_out,
    **{op: lambda shape, _: shape for op in ("relu", "tanh", "lrn", "samemap", "dropout")},
}
