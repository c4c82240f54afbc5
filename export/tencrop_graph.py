"""Builds tencrop.onnx around net.onnx: the ten views before the net, the softmax and the mean over the views behind it.

Every tencrop.onnx is built here.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tencrop.export.graph_builder import GraphBuilder, read_opset, replace_input
from tencrop.export.shared_layers import Step, find_shared_layers
from tencrop.export.view_maps import FRONT, Rectangle, ViewMaps, add_cut
from tencrop.model.contract import Contract
from tencrop.model.feature_output import NET, ORDER, add_feature_output
from tencrop.model.tencropfile import INPUT, OUTPUTS, Metadata

FILES = ("net.onnx", "tencrop.onnx", "parity.json")


def build_tencrop_graph(
    net: onnx.ModelProto, contract: Contract, mean: np.ndarray, plain: bool = False, features: Sequence[str] = ()
) -> onnx.ModelProto:
    """`images` uint8 [N,R,R,3] -> `probabilities` [N,C] and `view_probabilities` [N,10,C], both float32.

    mean: float32 [3,R,R], subtracted before cropping (aligned), or [3,crop,crop], subtracted from every view (center).
    The views share the net's first layers where that is exact (export/shared_layers.py).
    plain: compute each view by itself. features: layers whose values are outputs, too (model/feature_output.py).
    """
    graph = GraphBuilder(read_opset(net))
    prefixed = onnx.compose.add_prefix(net, NET)
    (crops,), (logits,) = prefixed.graph.input, prefixed.graph.output
    graph.initializers.extend(prefixed.graph.initializer)
    graph.nodes.extend(_take_constants(prefixed))
    maps = _measure_views(contract)
    steps = find_shared_layers(prefixed, maps) if not plain and _can_share(contract, mean) else []
    if steps:
        replace_input(prefixed.graph.node, steps[-1].gives, _add_shared_layers(graph, steps, maps, contract, mean))
    else:
        replace_input(prefixed.graph.node, crops.name, _add_views(graph, contract, mean))
    done = [node for step in steps for node in step.nodes]
    graph.nodes.extend(node for node in prefixed.graph.node if node not in done)
    classes = logits.type.tensor_type.shape.dim[-1].dim_value
    softmax = graph.add_node("Softmax", f"{FRONT}softmax", logits.name, axis=-1)
    apart = graph.add_constant(f"{FRONT}view_shape", np.array([len(contract.views), -1, classes]))
    by_view = graph.add_node("Reshape", f"{FRONT}by_view", softmax, apart)  # [10,N,C]
    if steps:
        order = graph.add_constant(ORDER, np.array(_order_views(contract, maps)))
        by_view = graph.add_node("Gather", f"{FRONT}ordered", by_view, order, axis=0)
    graph.add_node("Transpose", OUTPUTS[1], by_view, perm=[1, 0, 2])
    graph.add_mean(OUTPUTS[0], OUTPUTS[1], axis=1)
    taken = {INPUT: ("N", contract.resize, contract.resize, 3)}
    given = {OUTPUTS[0]: ("N", classes), OUTPUTS[1]: ("N", len(contract.views), classes)}
    model = graph.build("tencrop", taken, given, TensorProto.UINT8)
    for layer in features:
        add_feature_output(model, layer)
    return model


def _measure_views(contract: Contract) -> ViewMaps:
    """The sizes of the views, cut from the image and from its mirror image at the same corners."""
    corners = tuple((top, left) for mirrored, top, left in _locate_views(contract) if not mirrored)
    return ViewMaps("", contract.resize, contract.crop, 0, 0, corners, {})


def _can_share(contract: Contract, mean: np.ndarray) -> bool:
    """Return whether every view sees the same pixels, minus the same mean, where views overlap."""
    mirrored = [(top, left) for is_mirrored, top, left in _locate_views(contract) if is_mirrored]
    return _is_mean_aligned(contract, mean) and sorted(mirrored) == sorted(_measure_views(contract).corners)


def _order_views(contract: Contract, maps: ViewMaps) -> list[int]:
    """The place of each view of the contract among the shared ones: the corner outermost, then image and mirror."""
    return [2 * maps.corners.index((top, left)) + mirrored for mirrored, top, left in _locate_views(contract)]


def _is_mean_aligned(contract: Contract, mean: np.ndarray) -> bool:
    return bool(mean.shape[-1] != contract.crop)


def _locate_views(contract: Contract) -> list[tuple[bool, int, int]]:
    """(whether cut from the mirror image, top, left) of each view; left is counted in the image that it is cut from."""
    far = contract.resize - contract.crop
    return [(view.mirrored, view.top, far - view.left if view.mirrored else view.left) for view in contract.views]


def _add_image_and_mirror(graph: GraphBuilder, contract: Contract, mean: np.ndarray | None) -> tuple[str, str]:
    """Add the image and its mirror image, float [N,3,R,R], minus the mean where there is one."""
    side = contract.resize
    planes = graph.add_node("Transpose", f"{FRONT}planes", INPUT, perm=[0, 3, 1, 2])
    pixels = graph.add_node("Cast", f"{FRONT}float", planes, to=TensorProto.FLOAT)
    upright = pixels if mean is None else _subtract_mean(graph, pixels, mean)
    return upright, graph.add_slice(f"{FRONT}mirror", upright, [side - 1], [-side - 1], [3], [-1])


def _add_shared_layers(
    graph: GraphBuilder, steps: Sequence[Step], maps: ViewMaps, contract: Contract, mean: np.ndarray
) -> str:
    """Add the shared layers' values of all views, the view outermost."""
    both = graph.add_node("Concat", f"{FRONT}both", *_add_image_and_mirror(graph, contract, mean), axis=0)
    maps = replace(maps, whole=both)
    for step in steps:
        maps = step.add(graph, maps)
    return maps.cut(graph, f"{FRONT}views", Rectangle((0, maps.side), (0, maps.side)))


def _add_views(graph: GraphBuilder, contract: Contract, mean: np.ndarray) -> str:
    """Add all views, the view outermost: float [10N,3,crop,crop]."""
    size, is_aligned = contract.crop, _is_mean_aligned(contract, mean)
    both = _add_image_and_mirror(graph, contract, mean if is_aligned else None)
    corners = enumerate(_locate_views(contract))
    crops = [
        add_cut(graph, f"{FRONT}view{i}", both[mirrored], Rectangle((top, top + size), (left, left + size)), 0, 0)
        for i, (mirrored, top, left) in corners
    ]
    views = graph.add_node("Concat", f"{FRONT}views", *crops, axis=0)
    return views if is_aligned else _subtract_mean(graph, views, mean)


def _subtract_mean(graph: GraphBuilder, x: str, mean: np.ndarray) -> str:
    return graph.add_node("Sub", f"{FRONT}centered", x, graph.add_constant(f"{FRONT}mean", mean))


def _take_constants(net: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Remove and return the nodes that do not depend on an image, as a Cast of weights, in their order."""
    known = {value.name for value in net.graph.initializer}
    constant = []
    for node in list(net.graph.node):
        if known.issuperset(node.input):
            known.update(node.output)
            constant.append(node)
            net.graph.node.remove(node)
    return constant


def write_files(folder: Path, net: onnx.ModelProto, tencrop: onnx.ModelProto, metadata: Metadata) -> None:
    """Write FILES. tencrop.onnx holds the metadata; parity.json repeats its parity."""
    del tencrop.metadata_props[:]
    helper.set_model_props(tencrop, metadata.to_props())
    net_file, tencrop_file, parity_file = (folder / name for name in FILES)
    net_file.write_bytes(net.SerializeToString())
    tencrop_file.write_bytes(tencrop.SerializeToString())
    parity_file.write_text(json.dumps(metadata.parity, indent=1) + "\n")
