"""net.onnx is what DESIGN promises: standard nodes, one file, nothing left over, for every recipe."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from export.onnx import net_onnx
from export.pipeline import tencrop_onnx
from export.precision import half, low_rank
from model.checkpoint import Checkpoint
from model.errors import BadInput


def test_net_has_exactly_its_lrn_nodes_with_the_paper_numbers(embedded: Checkpoint) -> None:
    norms = [node for node in net_onnx(embedded).graph.node if node.op_type == "LRN"]
    numbers = [{a.name: round(onnx.helper.get_attribute_value(a), 7) for a in norm.attribute} for norm in norms]
    assert numbers == [{"alpha": 1e-4, "beta": 0.75, "bias": 2.0, "size": 5}] * 2


def test_columns_of_source145_are_folded_into_the_batch(source145: Checkpoint) -> None:
    model = net_onnx(source145)
    found = Counter(node.op_type for node in model.graph.node)
    assert found["LRN"] == 2 and found["Reshape"] == 4 and found["AveragePool"] == 1
    assert not {"Dropout", "Shape", "Size", "NonZero"} & set(found)


def test_file_is_opset_20_and_carries_no_traces(embedded: Checkpoint) -> None:
    model = net_onnx(embedded)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert all(value.data_location == TensorProto.DEFAULT for value in model.graph.initializer)
    assert [i.name for i in model.graph.input] == ["input"] and [o.name for o in model.graph.output] == ["logits"]


def test_pipeline_takes_pixels_and_gives_both_outputs(embedded: Checkpoint) -> None:
    model = tencrop_onnx(net_onnx(embedded), embedded.contract, embedded.mean)
    (taken,) = model.graph.input
    shape = [d.dim_value or d.dim_param for d in taken.type.tensor_type.shape.dim]
    assert (taken.name, taken.type.tensor_type.elem_type, shape) == ("images", TensorProto.UINT8, ["N", 256, 256, 3])
    assert [o.name for o in model.graph.output] == ["probabilities", "view_probabilities"]


def test_half_rounds_matrices_only(source145: Checkpoint) -> None:
    small = half(source145)
    assert {name for name, w in small.weights.items() if w.dtype == np.float32} == {n for n in small.weights if n.endswith("bias")}
    sizes = [net_onnx(checkpoint).ByteSize() for checkpoint in (source145, small)]
    assert sizes[1] < 0.52 * sizes[0]


def test_half_refuses_what_fp16_cannot_hold(source145: Checkpoint) -> None:
    large = {**source145.weights, "fc8.weight": np.full_like(source145.weights["fc8.weight"], 1e5)}
    with pytest.raises(BadInput, match=r"fc8\.weight exceeds"):
        half(Checkpoint(source145.recipe, source145.contract, source145.statistics, large))


def test_low_rank_shrinks_both_hidden_layers(source145: Checkpoint) -> None:
    small = low_rank(source145, 8)
    assert (small.net.fc6.rank, small.net.fc7.rank) == (8, 8)
    assert small.weights["fc6.down.weight"].shape == (8, 9216)
    with pytest.raises(BadInput, match="has rank 8 already"):
        low_rank(small, 4)
    with pytest.raises(BadInput, match="between 1 and"):
        low_rank(source145, 10**6)
