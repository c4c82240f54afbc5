"""Quantizes net.onnx to int8 by onnxruntime's static quantization, as QDQ nodes, calibrated on real images.

Weights have one scale per kernel. An activation has one scale, from its smallest and largest value in calibration.
Weights take 7 of their 8 bits: a CPU without VNNI instructions adds two products in 16 bits, which would overflow
silently (onnxruntime's issue 6004). The first convolution stays in floats: it sees pixels, costs little, and the ten
views can go on to share it (export/shared_layers.py).
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import shape_inference
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

QUANTIZED_OPERATORS = ["Conv", "Gemm", "MatMul"]


class CalibrationCrops(CalibrationDataReader):  # type: ignore[misc]
    """Hands batches of float crops to the quantizer."""

    def __init__(self, batches: Iterable[np.ndarray]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch}


def quantize_to_int8(net: onnx.ModelProto, batches: Iterable[np.ndarray]) -> onnx.ModelProto:
    """batches: the net's inputs for the images to calibrate on, float32 [N,3,crop,crop] each."""
    model = shape_inference.infer_shapes(net)
    add_pre_process_metadata(model)  # the quantizer wants inferred shapes and no dead nodes
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.onnx"
        quantize_static(
            model,
            out,
            CalibrationCrops(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPERATORS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[first],
        )
        quantized = onnx.load(out)
    del quantized.metadata_props[:]
    return quantized
