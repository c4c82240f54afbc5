"""Triton (nvidia-pytriton's Python backend) + onnxruntime: net.onnx on ten crops of up to eight images, fp32, CPU.

python -m bench.serving.rivals.triton_onnxruntime PORT NET.ONNX MEAN.NPY
"""

import sys

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch  # type: ignore[import-not-found]
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor  # type: ignore[import-not-found]
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

from bench.serving.rivals.tencrop_numpy import average_softmax, decode_square, ten_crops

net = ort.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
mean = np.load(sys.argv[3])


@batch  # type: ignore[untyped-decorator]
def predict(image: np.ndarray) -> dict[str, np.ndarray]:
    """Answer a batch of encoded images, bytes [N,1]."""
    squares = np.stack([decode_square(data) for data in image[:, 0]])
    probabilities = average_softmax(net.run(None, {"input": ten_crops(squares, mean)})[0])
    return {
        "index": probabilities.argmax(1, keepdims=True).astype(np.int32),
        "probability": probabilities.max(1, keepdims=True).astype(np.float32),
    }


if __name__ == "__main__":
    with Triton(config=TritonConfig(http_port=int(sys.argv[1]), allow_grpc=False, allow_metrics=False)) as triton:
        triton.bind(
            model_name="alexnet",
            infer_func=predict,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="index", dtype=np.int32, shape=(1,)),
                Tensor(name="probability", dtype=np.float32, shape=(1,)),
            ],
            config=ModelConfig(max_batch_size=8, batcher=DynamicBatcher(max_queue_delay_microseconds=10_000)),
        )
        triton.serve()
