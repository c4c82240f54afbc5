"""Writes a tencrop.onnx that answers at once: random weights on a few pixels, in place of a net.

The product opens, probes and serves the file like any other. Different images get different answers, which
`answer_square` computes without the file.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tencrop.export.graph_builder import GraphBuilder
from tencrop.images.decode import decode
from tencrop.model.contract import DECODING, Contract, Label
from tencrop.model.filter_picture import draw_filters
from tencrop.model.probe import Probe
from tencrop.model.tencropfile import INPUT, OUTPUTS, Metadata

CLASSES = 1000  # as ImageNet has
STEP = 32  # pixels between those that are read, in both directions
SPREAD = 3.0  # standard deviation of the logits, so that the first answer is clear


def write_null_model(folder: Path, classes: int = CLASSES) -> Path:
    """Write tencrop.onnx into `folder` and return its path."""
    contract = Contract(labels=tuple(Label(f"class{i}", f"class {i}") for i in range(classes)), decode=DECODING)
    weights = _draw_weights(contract)
    graph = GraphBuilder()
    pixels = graph.add_slice("read", INPUT, [STEP // 2] * 2, [contract.resize] * 2, [1, 2], [STEP] * 2)
    flat = graph.add_node("Reshape", "flat", pixels, graph.add_constant("flat.shape", np.array([-1, len(weights)])))
    logits = graph.add_node(
        "MatMul",
        "logits",
        graph.add_node("Cast", "float", flat, to=TensorProto.FLOAT),
        graph.add_constant("weights", weights),
    )
    graph.add_node("Softmax", OUTPUTS[0], logits, axis=-1)
    one_view = graph.add_node("Unsqueeze", "one_view", OUTPUTS[0], graph.add_constant("view_axis", np.array([1])))
    views = len(contract.views)
    graph.add_node("Tile", OUTPUTS[1], one_view, graph.add_constant("views", np.array([1, views, 1])))
    taken = {INPUT: ("N", contract.resize, contract.resize, 3)}
    model = graph.build(
        "null", taken, {OUTPUTS[0]: ("N", classes), OUTPUTS[1]: ("N", views, classes)}, TensorProto.UINT8
    )
    metadata = Metadata(
        contract=contract,
        recipe={"name": "null"},
        parity={},
        checkpoint_sha256="0" * 64,
        filter_picture=draw_filters(np.zeros((1, 3, 11, 11))),
        probe=Probe.choose(lambda png: answer_square(decode(png, contract)[0], contract)),
    )
    helper.set_model_props(model, metadata.to_props())
    path = folder / "tencrop.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def answer_square(square: np.ndarray, contract: Contract) -> np.ndarray:
    """The probabilities [C] that the file of this contract gives for a square, uint8 [R,R,3]."""
    pixels = square[STEP // 2 :: STEP, STEP // 2 :: STEP].reshape(-1).astype(np.float32)
    logits = pixels @ _draw_weights(contract)
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def _draw_weights(contract: Contract) -> np.ndarray:
    """float32 [pixels that are read, C]; the same for every contract of the same size."""
    read = 3 * len(range(STEP // 2, contract.resize, STEP)) ** 2
    scale = SPREAD / (128 * np.sqrt(read))
    return np.random.default_rng(0).normal(0, scale, (read, len(contract.labels))).astype(np.float32)
