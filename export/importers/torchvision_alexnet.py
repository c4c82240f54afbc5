"""Reads a state dict of torchvision's alexnet as a SourceNet.

The net is that of "One weird trick for parallelizing convolutional neural networks": 64-192-384-256-256 kernels, no
groups, no LRN. https://github.com/pytorch/vision/blob/main/torchvision/models/alexnet.py
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.pixels import TORCHVISION_PRESET
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.state_dict import SAVE_WEIGHTS, read_state_dict

KIND = "torchvision's alexnet"
CROP = 224
TORCHVISION_INPUT = replace(
    TORCHVISION_PRESET, layout="nchw", crop=CROP, resize=256, filter="bilinear", output="logits"
)
CONVOLUTIONS = (  # (layer, kernel, stride, pad, whether a pooling follows)
    ("features.0", 11, 4, 2, True),
    ("features.3", 5, 1, 2, True),
    ("features.6", 3, 1, 1, False),
    ("features.8", 3, 1, 1, False),
    ("features.10", 3, 1, 1, True),
)
LINEAR = ("classifier.1", "classifier.4", "classifier.6")
DROPPED = LINEAR[:2]  # layers behind a dropout, which is removed from net.onnx and stays in the checkpoint
LAYERS = (*(layer for layer, *_ in CONVOLUTIONS), *LINEAR)
PARTS = ("weight", "bias")
POOLED = 6  # side of the maps after the last pooling; adaptive pooling to this side does nothing
NAMES = frozenset(f"{layer}.{part}" for layer in LAYERS for part in PARTS)


def read_alexnet(path: Path, given: InputConvention) -> SourceNet:
    """Read weights of torchvision's alexnet as a SourceNet. Raises BadInput for a damaged file or another net."""
    read = read_state_dict(path)
    weights = _strip_prefix(read.weights)
    _check(weights, path)
    graph = _build_graph(weights, given.crop or CROP, path)
    return SourceNet(path, KIND, graph, TORCHVISION_INPUT, read.assumed, is_rebuilt=True)


def _strip_prefix(weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Strip what all names begin with, as Lightning's "model.", if that leaves the net's own names and no other."""
    shared = min(weights, default="").removesuffix(min(NAMES))
    stripped = {name.removeprefix(shared): value for name, value in weights.items()}
    return stripped if stripped.keys() == NAMES else weights


def _check(weights: Mapping[str, np.ndarray], path: Path) -> None:
    """Check names and shapes of the weights. Raises BadInput unless they are those of torchvision's alexnet.

    The layers may have any width, and the net any number of classes.
    """
    foreign = sorted(weights.keys() - NAMES)
    for name in sorted(NAMES - weights.keys()):
        seen = f"; {one_line(foreign[0])!r} is not one of its layers" if foreign else ""
        raise BadInput(f"{path}: not torchvision's alexnet ({name!r} is missing{seen})", SAVE_WEIGHTS)
    for name in foreign:
        raise BadInput(f"{path}: not torchvision's alexnet ({one_line(name)!r} is not one of its layers)", SAVE_WEIGHTS)
    inputs = 3
    for layer, kernel, *_ in CONVOLUTIONS:
        inputs = _check_layer(path, weights, layer, (inputs, kernel, kernel))
    inputs *= POOLED**2
    for layer in LINEAR:
        inputs = _check_layer(path, weights, layer, (inputs,))


def _check_layer(path: Path, weights: Mapping[str, np.ndarray], layer: str, sides: tuple[int, ...]) -> int:
    """Returns the layer's number of outputs; `sides` are the other sides of its weights. Raises BadInput."""
    weight, bias = (weights[f"{layer}.{part}"] for part in PARTS)
    if weight.shape[1:] != sides or bias.shape != weight.shape[:1]:
        raise BadInput(
            f"{path}: {layer} has weights {list(weight.shape)} and biases {list(bias.shape)}; "
            f"expected [K, {', '.join(map(str, sides))}]"
        )
    return len(weight)


def _build_graph(weights: Mapping[str, np.ndarray], crop: int, path: Path) -> onnx.ModelProto:
    graph, x, side = GraphBuilder(), "image", crop
    for layer, kernel, stride, pad, is_pooled in CONVOLUTIONS:
        shape: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        x = graph.add_node("Conv", layer, x, *_add_parameters(graph, layer, weights), **shape)
        x = graph.add_node("Relu", f"{layer}.relu", x)
        side = (side + 2 * pad - kernel) // stride + 1
        if is_pooled:
            x = graph.add_node("MaxPool", f"{layer}.pool", x, kernel_shape=[3, 3], strides=[2, 2])
            side = (side - 3) // 2 + 1
    if side != POOLED:
        raise BadInput(
            f"--crop {crop}: leaves torchvision's alexnet maps of {side}x{side} and not {POOLED}x{POOLED}",
            f"{path} takes {CROP}",
        )
    x = graph.add_node("Flatten", "flat", x, axis=1)
    for layer in LINEAR:
        x = graph.add_node("Dropout", f"{layer}.dropout", x) if layer in DROPPED else x  # of ONNX's default ratio, 0.5
        x = graph.add_node("Gemm", layer, x, *_add_parameters(graph, layer, weights), transB=1)
        x = graph.add_node("Relu", f"{layer}.relu", x) if layer != LINEAR[-1] else x
    classes = len(weights[f"{LINEAR[-1]}.bias"])
    return graph.build("alexnet", {"image": ("N", 3, crop, crop)}, {x: ("N", classes)})


def _add_parameters(graph: GraphBuilder, layer: str, weights: Mapping[str, np.ndarray]) -> list[str]:
    return [graph.add_constant(f"{layer}.{part}", weights[f"{layer}.{part}"]) for part in PARTS]
