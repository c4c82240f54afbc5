"""Recognises bvlcalexnet of the ONNX Model Zoo (-7, -9, -12) by its operators.

The file does not state its pixel format. The net is Caffe's AlexNet as Caffe2 wrote it: BGR on the 0..255 scale, the
mean colour of ILSVRC-2012 subtracted, LRN with k = 1 after the ReLU, a softmax inside, a fixed batch of 1.
"""

import onnx

from tencrop.export.importers.input_convention import InputConvention

BVLC_INPUT = InputConvention(
    channels="bgr",
    layout="nchw",
    scale=1.0,
    mean=(103.939, 116.779, 123.68),
    std=(1.0,) * 3,
    resize=256,
    filter="bilinear",
)
OPERATORS = (
    *("Conv", "Relu", "LRN", "MaxPool") * 2,
    *("Conv", "Relu") * 3,
    "MaxPool",
    "Reshape",
    *("Gemm", "Relu", "Dropout") * 2,
    "Gemm",
    "Softmax",
)
CONSTANTS = ("Constant", "ConstantOfShape")


def is_bvlc_alexnet(model: onnx.ModelProto) -> bool:
    """Return whether the model has bvlcalexnet's input and its operators in its order."""
    inputs = [value.name for value in model.graph.input if value.name == "data_0"]
    operators = tuple(node.op_type for node in model.graph.node if node.op_type not in CONSTANTS)
    return bool(inputs) and operators == OPERATORS
