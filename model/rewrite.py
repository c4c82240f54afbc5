"""Rewriting a file's nodes where a provider runs them badly or not at all."""

from collections.abc import Callable, Iterable, Mapping

import onnx
from onnx import shape_inference

Types = Mapping[str, onnx.TypeProto.Tensor]
Instead = Callable[[onnx.GraphProto, onnx.NodeProto, Types], Iterable[onnx.NodeProto]]


def rewritten(graph: bytes, odd: Callable[[onnx.NodeProto], bool], instead: Instead) -> bytes:
    """The file with what `instead` makes of each odd node in its place.

    `instead` may add constants to the graph, and hears the type of each value as far as the file tells; [node] leaves it as it is.
    """
    model = onnx.load_model_from_string(graph)
    if not any(map(odd, model.graph.node)):
        return graph
    inferred = shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    nodes = [part for node in model.graph.node for part in (instead(model.graph, node, types) if odd(node) else [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())
