"""Reads a .caffemodel, in either of Caffe's two formats, as a SourceNet."""

from pathlib import Path
from typing import Any

import onnx

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.importers.caffe_file import read_message
from tencrop.export.importers.caffe_layers import CaffeGraph, add_layer
from tencrop.export.importers.caffe_pixels import read_caffe_convention
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.source_net import SourceNet

V1_TYPES = {  # V1LayerParameter.LayerType
    1: "Accuracy",
    4: "Convolution",
    5: "Data",
    6: "Dropout",
    9: "HDF5Data",
    12: "ImageData",
    14: "InnerProduct",
    15: "LRN",
    17: "Pooling",
    18: "ReLU",
    20: "Softmax",
    21: "SoftmaxWithLoss",
    22: "Split",
    24: "WindowData",
    29: "MemoryData",
    32: "DummyData",
    36: "Silence",
}
DATA = ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "Input", "DummyData")
SKIPPED = (*DATA, "SoftmaxWithLoss", "Accuracy", "Silence")  # layers that the scores do not depend on


def read_caffe(path: Path, given: InputConvention) -> SourceNet:
    """Read a .caffemodel as a SourceNet.

    Raises BadInput for a damaged file, a layer that AlexNet does not have, or shapes that do not fit.
    """
    message = read_message(path, "Net")
    layers = list(message.layer) or list(message.layers)
    if not layers:
        raise BadInput(f"{path}: not a .caffemodel (no layers in it)")
    kinds = [_name_kind(layer.type) for layer in layers]
    inputs = [layer for layer, kind in zip(layers, kinds, strict=True) if kind in DATA]
    transform = next((layer.transform for layer in inputs if layer.HasField("transform")), None)
    known, assumed = read_caffe_convention(path, transform, given)
    model = _build_graph(path, layers, kinds, known.crop or 0)
    return SourceNet(path, "Caffe's .caffemodel", model, known, assumed, is_rebuilt=True)


def _name_kind(kind: str | int) -> str:
    """The newer format stores a layer's kind as a name, the older one as a number."""
    return kind if isinstance(kind, str) else V1_TYPES.get(kind, f"number {kind}")


def _build_graph(path: Path, layers: list[Any], kinds: list[str], crop: int) -> onnx.ModelProto:
    """The graph up to the output of the last layer that is not skipped."""
    net = CaffeGraph(path, GraphBuilder())
    # The images are the data layer's first output or, without a data layer, the first layer's input.
    images = next((name for layer in layers for name in (*layer.bottom, *layer.top)), "")
    net.values[images] = ("image", (3, crop, crop))
    used = [(layer, kind) for layer, kind in zip(layers, kinds, strict=True) if kind not in SKIPPED]
    for layer, kind in used:
        add_layer(net, layer, kind)
    tops = [layer.top[0] for layer, _ in used if layer.top[0] in net.values]
    name, shape = net.values[tops[-1]] if tops else ("", ())
    if len(shape) != 1:
        raise BadInput(f"{path}: no classifier (its last layer makes {list(shape)} and not a row of scores)")
    try:
        return net.graph.build("caffe", {"image": ("N", 3, crop, crop)}, {name: ("N", *shape)})
    except Exception as error:  # onnx raises several types, for example where two layers have one name
        raise BadInput(f"{path}: its layers make no net: {one_line(error)}") from None
