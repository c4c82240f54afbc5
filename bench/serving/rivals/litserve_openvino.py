"""LitServe + tencrop.onnx on OpenVINO: our graph, engine and precision under another server.

python -m bench.serving.rivals.litserve_openvino PORT TENCROP.ONNX bf16|f32
"""

import sys
from typing import Annotated, Any

import litserve as ls  # type: ignore[import-not-found]
import numpy as np
import openvino as ov
from fastapi import Body

from bench.serving.rivals.tencrop_numpy import decode_square


class TenCrop(ls.LitAPI):  # type: ignore[misc]
    """POST /predict with the file as the body."""

    def setup(self, device: str) -> None:
        """Load the model once in the worker."""
        hints = {"INFERENCE_PRECISION_HINT": sys.argv[3], "PERFORMANCE_HINT": "LATENCY"}
        self.model = ov.Core().compile_model(sys.argv[2], "CPU", hints)

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> np.ndarray:
        """Decode to uint8 [256,256,3]; LitServe stacks the images of a batch."""
        return decode_square(request)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Mean probabilities [N,C]."""
        return np.asarray(self.model([x])["probabilities"])

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """The most probable class of one image."""
        return {"index": int(output.argmax()), "probability": float(output.max())}


if __name__ == "__main__":
    api = TenCrop(max_batch_size=8, batch_timeout=0.01)
    ls.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
