"""torchvision's alexnet, a state dict as .pth (read without running pickled code) or .safetensors -> Source.

The net of "One weird trick for parallelizing convolutional neural networks": 64-192-384-256-256 kernels, no groups, no norms.
https://github.com/pytorch/vision/blob/main/torchvision/models/alexnet.py
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tencrop.common.errors import BadInput, one_line
from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.pixels import TORCHVISION_PRESET
from tencrop.export.importers.source_net import SourceNet

KIND = "torchvision's alexnet"
TORCHVISION_INPUT = replace(TORCHVISION_PRESET, layout="nchw", crop=224, resize=256, output="logits")
CONVOLUTIONS = (  # (layer, kernel, stride, pad, whether a pooling follows)
    ("features.0", 11, 4, 2, True),
    ("features.3", 5, 1, 2, True),
    ("features.6", 3, 1, 1, False),
    ("features.8", 3, 1, 1, False),
    ("features.10", 3, 1, 1, True),
)
LINEAR = ("classifier.1", "classifier.4", "classifier.6")
LAYERS = (*(layer for layer, *_ in CONVOLUTIONS), *LINEAR)
PARTS = ("weight", "bias")
POOLED = 6  # side of the maps behind the last pooling; adaptive pooling to it does nothing
WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep a state dict
WRAPPED = "module."  # DataParallel puts it before the names of what it holds: the net, or its features alone


def read_alexnet(path: Path, said: InputConvention) -> SourceNet:
    """Raises BadInput where the file is damaged or holds another net."""
    tensors = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(path)
    weights = {name.replace(WRAPPED, ""): value for name, value in tensors.items()}
    _check(weights, path)
    return SourceNet(path, KIND, _graph(weights, said.crop or 224, path), TORCHVISION_INPUT, rebuilt=True)


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    try:
        held = load_file(path)
    except (
        OSError,
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
    ) as error:  # KeyError, TypeError: of types that numpy has not
        raise BadInput(f"{path}: not a safetensors file, or a damaged one ({one_line(error)})") from None
    odd = next((name for name, value in held.items() if value.dtype.kind != "f"), None)
    if odd is not None:
        raise BadInput(f"{path}: {one_line(odd)!r} is {held[odd].dtype}; expected float weights")
    return {name: np.asarray(value, np.float32) for name, value in held.items()}


def _read_pickle(path: Path) -> Mapping[str, np.ndarray]:
    import torch

    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensors that are refused below
            held: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile archive makes of itself
        raise BadInput(
            f"{path}: damaged, or more than weights only ({type(error).__name__}); save the net's state_dict()"
        ) from None
    for key in WRAPPERS:
        held = held[key] if isinstance(held, dict) and isinstance(held.get(key), dict) else held
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise BadInput(f"{path}: holds no state dict; save the net's state_dict()")
    for name, value in held.items():
        if not value.is_floating_point() or value.is_meta or value.layout != torch.strided:
            kind = "meta" if value.is_meta else f"{value.layout} {value.dtype}".replace("torch.", "")
            raise BadInput(f"{path}: {one_line(name)!r} is {kind}; expected float weights, each number of them")
    return {str(name): value.detach().float().numpy() for name, value in held.items()}


def _check(weights: Mapping[str, np.ndarray], path: Path) -> None:
    """The layers of torchvision's alexnet, whatever their widths and number of classes. Raises BadInput."""
    wanted = {f"{layer}.{part}" for layer in LAYERS for part in PARTS}
    if wanted != set(weights):
        odd = sorted(wanted - set(weights))[:1] or sorted(set(weights) - wanted)[:1]
        raise BadInput(
            f"{path}: not torchvision's alexnet ({odd[0]!r} is {'missing' if odd[0] in wanted else 'not one of its layers'})"
        )
    before = 3
    for layer, kernel, *_ in CONVOLUTIONS:
        before = _check_layer(path, weights, layer, (before, kernel, kernel))
    before *= POOLED**2
    for layer in LINEAR:
        before = _check_layer(path, weights, layer, (before,))


def _check_layer(path: Path, weights: Mapping[str, np.ndarray], layer: str, behind: tuple[int, ...]) -> int:
    """How many outputs a layer has, given the other sides of its weights. Raises BadInput."""
    weight, bias = (weights[f"{layer}.{part}"] for part in PARTS)
    if weight.shape[1:] != behind or bias.shape != weight.shape[:1]:
        raise BadInput(
            f"{path}: {layer} has weights {list(weight.shape)} and biases {list(bias.shape)}; expected [K, {', '.join(map(str, behind))}]"
        )
    return len(weight)


def _graph(weights: Mapping[str, np.ndarray], crop: int, path: Path) -> onnx.ModelProto:
    graph, x, side = GraphBuilder(), "image", crop
    for layer, kernel, stride, pad, pooled in CONVOLUTIONS:
        shape: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        x = graph.add_node("Conv", layer, x, *_parameters(graph, layer, weights), **shape)
        x = graph.add_node("Relu", f"{layer}.relu", x)
        side = (side + 2 * pad - kernel) // stride + 1
        if pooled:
            x = graph.add_node("MaxPool", f"{layer}.pool", x, kernel_shape=[3, 3], strides=[2, 2])
            side = (side - 3) // 2 + 1
    if side != POOLED:
        raise BadInput(
            f"--crop {crop}: leaves torchvision's alexnet maps of {side}x{side} and not {POOLED}x{POOLED}; {path} takes 224"
        )
    x = graph.add_node("Flatten", "flat", x, axis=1)
    for layer in LINEAR:
        x = graph.add_node("Gemm", layer, x, *_parameters(graph, layer, weights), transB=1)
        x = graph.add_node("Relu", f"{layer}.relu", x) if layer != LINEAR[-1] else x
    classes = len(weights[f"{LINEAR[-1]}.bias"])
    return graph.build("alexnet", {"image": ("N", 3, crop, crop)}, {x: ("N", classes)})


def _parameters(graph: GraphBuilder, layer: str, weights: Mapping[str, np.ndarray]) -> list[str]:
    return [graph.add_constant(f"{layer}.{part}", weights[f"{layer}.{part}"]) for part in PARTS]
