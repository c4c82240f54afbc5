"""Adds the values of a layer to the outputs of a tencrop.onnx: the features of an image (section 6.1 of the paper).

It needs the graph alone, neither torch nor a checkpoint: the nodes of an exported net have the names of its layers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.tencropfile import OUTPUTS, TenCropFile, parse_onnx

VIEWS = ("center", "ten")  # the center crop's features, or the mean over the ten views
NET = "net/"  # prefix of the names of the net's own nodes
ORDER = "tencrop/order"  # the order of the views, where it differs from that of the net's values
LAYERS: Mapping[str, tuple[str, ...]] = {  # by layer, the possible names of its values: behind the activation
    "pool5": ("pool5",),
    "fc6": ("relu6", "tanh6"),
    "fc7": ("relu7", "tanh7"),
}


def add_feature_output(model: onnx.ModelProto, layer: str) -> None:
    """Add the output `layer`, float32 [N,10,K]: the values of a layer of LAYERS for every view of the contract.

    They are the values behind ReLU and before dropout's factor. Raises BadInput for another layer, and where the net
    lacks it.
    """
    if layer not in LAYERS:
        raise BadInput(f"features of {layer!r}: expected {', '.join(LAYERS)}", did_you_mean(layer, LAYERS))
    named = {output for node in model.graph.node for output in node.output}
    value = next((NET + name for name in LAYERS[layer] if NET + name in named), None)
    if value is None:
        raise BadInput(f"this net has no layer named {layer}", "take a net that `tencrop export` wrote")
    views, width = _read_sizes(model, value)
    shape = numpy_helper.from_array(np.array([views, -1, width]), f"{layer}/shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(_make_node("Reshape", f"{layer}/by_view", value, shape.name))  # [10,N,K]
    if any(constant.name == ORDER for constant in model.graph.initializer):
        model.graph.node.append(_make_node("Gather", f"{layer}/ordered", f"{layer}/by_view", ORDER, axis=0))
    model.graph.node.append(_make_node("Transpose", layer, model.graph.node[-1].output[0], perm=[1, 0, 2]))
    model.graph.output.append(helper.make_tensor_value_info(layer, TensorProto.FLOAT, ("N", views, width)))


def _make_node(op: str, name: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [name], name=name, **attributes)


def _read_sizes(model: onnx.ModelProto, value: str) -> tuple[int, int]:
    """The number of views, and of a view's values in all."""
    views = next(output for output in model.graph.output if output.name == OUTPUTS[1])
    inferred = shape_inference.infer_shapes(model).graph.value_info
    found = next(info for info in inferred if info.name == value)
    sides = [dim.dim_value for dim in found.type.tensor_type.shape.dim]
    return views.type.tensor_type.shape.dim[1].dim_value, int(np.prod(sides[1:]))


def choose_views(features: np.ndarray, views: str) -> np.ndarray:
    """[N,10,K] -> [N,K], by one of VIEWS."""
    return features[:, CENTER_VIEW] if views == "center" else features.mean(1)


def read_widths(file: TenCropFile) -> dict[str, int]:
    """The number of features of each layer that the file gives."""
    if not file.metadata.features:
        return {}
    outputs = parse_onnx(file.graph, file.name).graph.output
    widths = {output.name: output.type.tensor_type.shape.dim[-1].dim_value for output in outputs}
    return {layer: widths[layer] for layer in file.metadata.features}


def with_features(file: TenCropFile, layer: str) -> TenCropFile:
    """The file with the output `layer`: as it is where it has one, else with a graph that is changed in memory.

    Raises BadInput as `add_feature_output` does.
    """
    if layer in file.metadata.features:
        return file
    model = parse_onnx(file.graph, file.name)
    try:
        add_feature_output(model, layer)
    except BadInput as error:
        raise BadInput(f"{file.name}: {error.what}", error.advice) from None
    metadata = replace(file.metadata, features=(*file.metadata.features, layer))
    return replace(file, graph=model.SerializeToString(), metadata=metadata)
