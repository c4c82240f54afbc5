"""Counts the floating-point operations that an ONNX graph makes for one image, by shape inference.

Only convolutions and matrix products count, two operations for each multiply-add. Norms and poolings do not.
"""

from collections.abc import Callable, Sequence
from math import prod

import onnx
from onnx import shape_inference

from tencrop.common.errors import WorkFailed

Shape = Sequence[int]

# Products that are summed in each value of the output, by operator; from the shapes of both factors and of the output.
# A Gemm's first factor is [M,K], or [K,M] where it is transposed.
SUMMANDS: dict[str, Callable[[Shape, Shape, Shape], int]] = {
    "Conv": lambda maps, kernels, output: prod(kernels[1:]),
    "Gemm": lambda left, right, output: prod(left) // output[0],
    "MatMul": lambda left, right, output: left[-1],
}


def count_gflop(model: onnx.ModelProto) -> float:
    """GFLOP of one image. The model's one input has the images first; int8 graphs have QDQ nodes.

    Raises WorkFailed where shape inference does not reach a product.
    """
    shapes = _infer_shapes_of_one_image(model)
    return sum(_count_flop(node, shapes) for node in model.graph.node if node.op_type in SUMMANDS) / 1e9


def _count_flop(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    left, right, output = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if not all(prod(shape) and shape for shape in (left, right, output)):
        raise WorkFailed(f"{node.op_type} {node.name}: the shape of its input or output is not known")
    return 2 * prod(output) * SUMMANDS[node.op_type](left, right, output)


def _infer_shapes_of_one_image(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shape of each value, by name; 0 stands for a dimension that is not known."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]  # shapes of any number of images
    (images,) = one.graph.input
    images.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(one).graph
    stored: dict[str, Shape] = {tensor.name: tensor.dims for tensor in graph.initializer}
    return stored | {value.name: _read_shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}


def _read_shape(value: onnx.ValueInfoProto) -> Shape:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
