"""export/tencrop_graph.py: the graph goes from uint8 images to the probabilities of the mean and of every view."""

from onnx import TensorProto

from tencrop.export.net_graph import build_net_graph
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.model.checkpoint import Checkpoint


def test_tencrop_graph_takes_pixels_and_gives_both_outputs(embedded: Checkpoint) -> None:
    model = build_tencrop_graph(build_net_graph(embedded), embedded.contract, embedded.mean)
    (taken,) = model.graph.input
    shape = [d.dim_value or d.dim_param for d in taken.type.tensor_type.shape.dim]
    assert (taken.name, taken.type.tensor_type.elem_type, shape) == ("images", TensorProto.UINT8, ["N", 256, 256, 3])
    assert [o.name for o in model.graph.output] == ["probabilities", "view_probabilities"]
