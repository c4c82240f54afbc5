"""TinySource: a small ONNX classifier that somebody else might have trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import oracles
from onnx import TensorProto, helper, numpy_helper

CROP, RESIZE, CLASSES = 32, 37, 7  # offsets 0, 2 and 5: the middle one is rounded down


@dataclass(frozen=True)
class TinySource:
    """A classifier with one convolution and one fully connected layer, in the input convention that a test asks for."""

    batch: int | str = 1
    layout: str = "nchw"
    opset: int = 13
    end: str = "softmax"  # or logits, or sums: probabilities without a softmax
    shape: tuple[int, ...] = (1, 196)
    seed: int = 0

    def weights(self) -> list[np.ndarray]:
        random = np.random.default_rng(self.seed)
        shapes = ((4, 3, 5, 5), (4,), (CLASSES, 196), (CLASSES,))
        return [random.normal(0, 0.2 / (1 + 0.2 * (len(shape) == 2)), shape).astype(np.float32) for shape in shapes]

    def model(self) -> onnx.ModelProto:
        sides = [self.batch, 3, CROP, CROP] if self.layout == "nchw" else [self.batch, CROP, CROP, 3]
        names = ("kernels", "offsets", "matrix", "shifts", "shape")
        stored = [numpy_helper.from_array(value, name) for value, name in zip(self.weights(), names, strict=False)]
        stored.append(numpy_helper.from_array(np.array(self.shape, np.int64), "shape"))
        nodes = (
            [helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2])] if self.layout == "nhwc" else []
        )
        nodes += [
            helper.make_node(
                "Conv", ["planes" if nodes else "picture", "kernels", "offsets"], ["maps"], strides=[2, 2]
            ),
            helper.make_node("Relu", ["maps"], ["active"], doc_string='File "/home/someone/net.py", line 3'),
            helper.make_node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
            helper.make_node("Dropout", ["flat"], ["dropped"]),
            helper.make_node("Gemm", ["dropped", "matrix", "shifts"], ["scores"], transB=1),
        ]
        if self.end == "softmax":
            nodes.append(helper.make_node("Softmax", ["scores"], ["answer"], axis=1))
        if self.end == "sums":
            nodes.append(helper.make_node("Exp", ["scores"], ["powers"]))
            nodes.append(helper.make_node("ReduceL1", ["powers"], ["sum"], axes=[1], keepdims=1))
            nodes.append(helper.make_node("Div", ["powers", "sum"], ["answer"]))
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, sides)],
            [
                helper.make_tensor_value_info(
                    "scores" if self.end == "logits" else "answer", TensorProto.FLOAT, [self.batch, CLASSES]
                )
            ],
            stored,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), path)
        return path

    def probabilities(self, planes: np.ndarray) -> np.ndarray:
        """Computed by the slow loops of oracles.py from float64 [N,3,32,32], the convolution's input."""
        kernels, offsets, matrix, shifts = (value.astype(np.float64) for value in self.weights())
        maps = np.maximum(oracles.conv(planes, kernels, offsets, 2, (0, 0), 1), 0)
        return oracles.softmax(oracles.max_pool(maps, 2, 2).reshape(len(planes), -1) @ matrix.T + shifts)
