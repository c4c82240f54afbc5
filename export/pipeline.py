"""net.onnx (or any classifier from float crops to logits) -> tencrop.onnx: the ten views, softmax and mean around the net.

The only way a tencrop.onnx is made.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.onnx import Graph
from model.contract import Contract
from model.tencropfile import INPUT, OUTPUTS, Card

FRONT, BACK = "tencrop/", "net/"  # prefixes of our own nodes and of the net's


def tencrop_onnx(net: onnx.ModelProto, contract: Contract, mean: np.ndarray) -> onnx.ModelProto:
    """`images` uint8 [N,R,R,3] -> `probabilities` [N,C] and `view_probabilities` [N,10,C], both float32.

    mean: float32 [3,R,R], subtracted before cropping (aligned), or [3,crop,crop], subtracted from every view (center).
    """
    graph = Graph()
    views = _views(graph, contract, mean)
    prefixed = onnx.compose.add_prefix(net, BACK)
    (taken,), (given,) = prefixed.graph.input, prefixed.graph.output
    graph.nodes.append(helper.make_node("Identity", [views], [taken.name], name=f"{FRONT}crops"))
    graph.nodes.extend(prefixed.graph.node)
    graph.initializers.extend(prefixed.graph.initializer)
    classes = given.type.tensor_type.shape.dim[-1].dim_value
    softmax = graph.node("Softmax", f"{FRONT}softmax", given.name, axis=-1)
    apart = graph.constant(f"{FRONT}view_shape", np.array([len(contract.views), -1, classes]))
    by_view = graph.node("Reshape", f"{FRONT}by_view", softmax, apart)  # [10,N,C]
    graph.node("Transpose", OUTPUTS[1], by_view, perm=[1, 0, 2])
    graph.node("ReduceMean", OUTPUTS[0], OUTPUTS[1], graph.constant(f"{FRONT}view_axis", np.array([1])), keepdims=0)
    side = contract.resize
    return graph.model(
        "tencrop",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info(OUTPUTS[0], TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info(OUTPUTS[1], TensorProto.FLOAT, ["N", len(contract.views), classes]),
        ],
    )


def _views(graph: Graph, contract: Contract, mean: np.ndarray) -> str:
    """All views, the view outermost: float [10N,3,crop,crop]."""
    size, side = contract.crop, contract.resize
    aligned = mean.shape[-1] != size
    planes = graph.node("Transpose", f"{FRONT}planes", INPUT, perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", f"{FRONT}float", planes, to=TensorProto.FLOAT)
    subtracted = graph.constant(f"{FRONT}mean", mean)
    upright = graph.node("Sub", f"{FRONT}centered", pixels, subtracted) if aligned else pixels
    mirror = _slice(graph, "mirror", upright, [side - 1], [-side - 1], [3], [-1])
    crops = []
    for index, view in enumerate(contract.views):
        left = side - size - view.left if view.mirrored else view.left  # where the crop lies in the mirrored image
        source = mirror if view.mirrored else upright
        crops.append(_slice(graph, f"view{index}", source, [view.top, left], [view.top + size, left + size], [2, 3], [1, 1]))
    views = graph.node("Concat", f"{FRONT}views", *crops, axis=0)
    return views if aligned else graph.node("Sub", f"{FRONT}centered", views, subtracted)


def _slice(graph: Graph, name: str, x: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> str:
    parts = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
    return graph.node("Slice", FRONT + name, x, *(graph.constant(f"{FRONT}{name}.{key}", np.array(value)) for key, value in parts))


def with_card(model: onnx.ModelProto, card: Card) -> onnx.ModelProto:
    """The model with its metadata."""
    del model.metadata_props[:]
    helper.set_model_props(model, card.to_metadata())
    return model
