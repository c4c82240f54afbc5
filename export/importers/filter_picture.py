"""The picture of a source net's first-layer filters, for the metadata of its tencrop.onnx."""

import numpy as np
import onnx
from onnx import numpy_helper

from tencrop.export.importers.graph_rewrite import collect_constants
from tencrop.model.filter_picture import draw_filters

MAX_FILTERS, MAX_SIDE = 1024, 64  # larger weights are not drawn
DARK_SQUARE = np.zeros((1, 3, 8, 8), np.float32)  # drawn where there are no filters to draw


def draw_first_filters(model: onnx.ModelProto, channels: str) -> bytes:
    """Draw the first convolution over three channels as RGB; a dark square where there is none, or a too large one."""
    return draw_filters(_find_first_filters(model, channels))


def _find_first_filters(model: onnx.ModelProto, channels: str) -> np.ndarray:
    constants = collect_constants(model)
    for node in model.graph.node:
        weights = constants.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is None or list(weights.dims[1:2]) != [3] or len(weights.dims) != 4:
            continue
        count, _, *sides = weights.dims
        if count > MAX_FILTERS or max(sides) > MAX_SIDE:
            break
        filters = numpy_helper.to_array(weights).astype(np.float32)
        return filters[:, ::-1] if channels == "bgr" else filters
    return DARK_SQUARE
