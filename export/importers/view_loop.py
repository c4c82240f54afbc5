"""Runs a net view by view inside the graph: for a net whose batch of 1 cannot be made any."""

from copy import deepcopy

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tencrop.export.importers.graph_rewrite import find_image_inputs

BODY = "view/"  # prefix of the net's names inside the loop


def loop_over_views(model: onnx.ModelProto) -> None:
    """Put the whole graph, which has a batch of 1, into a Scan over the images of a batch of any size."""
    image, output = find_image_inputs(model)[0], model.graph.output[0]
    inner = onnx.compose.add_prefix(model, BODY).graph
    inner_image, inner_output = find_image_inputs(onnx.ModelProto(graph=inner))[0], inner.output[0]
    view, row = f"{inner_image.name}/one", f"{inner_output.name}/row"
    tensor = deepcopy(image.type.tensor_type)
    sides = [side.dim_value for side in tensor.shape.dim]
    axes, flat = "views/axes", "views/flat"
    nodes = [
        helper.make_node("Unsqueeze", [view, axes], [inner_image.name], name="views/unsqueeze"),
        *inner.node,
        helper.make_node("Reshape", [inner_output.name, flat], [row], name="views/reshape"),
    ]
    stored = [numpy_helper.from_array(np.array(values), name) for name, values in ((axes, [0]), (flat, [-1]))]
    body = helper.make_graph(
        nodes,
        "view",
        [helper.make_tensor_value_info(view, tensor.elem_type, sides[1:])],
        [helper.make_tensor_value_info(row, output.type.tensor_type.elem_type, [None])],
        [*inner.initializer, *stored],
    )
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(
        helper.make_node("Scan", [image.name], [output.name], name="views", body=body, num_scan_inputs=1)
    )
    image.type.tensor_type.shape.dim[0].dim_param = "N"
    output.type.tensor_type.ClearField("shape")
