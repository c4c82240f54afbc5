"""LitServe + onnxruntime: net.onnx on the ten crops of up to eight images, fp32 on the CPU.

python -m bench.serving.rivals.litserve_onnxruntime PORT NET.ONNX MEAN.NPY
"""

import sys
from typing import Annotated, Any

import litserve as ls  # type: ignore[import-not-found]
import numpy as np
import onnxruntime as ort
from fastapi import Body

from bench.serving.rivals.tencrop_numpy import average_softmax, decode_square, ten_crops


class TenCrop(ls.LitAPI):  # type: ignore[misc]
    """POST /predict with the file as the body."""

    def setup(self, device: str) -> None:
        """Load the model once in the worker."""
        self.net = ort.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
        self.mean = np.load(sys.argv[3])

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> np.ndarray:
        """Decode to uint8 [256,256,3]; LitServe stacks the images of a batch."""
        return decode_square(request)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Mean probabilities [N,C]."""
        return average_softmax(self.net.run(None, {"input": ten_crops(x, self.mean)})[0])

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """The most probable class of one image."""
        return {"index": int(output.argmax()), "probability": float(output.max())}


if __name__ == "__main__":
    api = TenCrop(max_batch_size=8, batch_timeout=0.01)
    ls.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
