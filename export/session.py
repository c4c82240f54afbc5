"""open_session: a graph in onnxruntime as it is written, to compare others with."""

from typing import Any

import onnxruntime as ort

from tencrop.runtime.onnxruntime_engine import SESSION_LOG_LEVEL


def open_session(model: bytes) -> Any:
    """An onnxruntime session without graph optimization: no node is fused or replaced, unlike in the engines."""
    options = ort.SessionOptions()
    options.log_severity_level = SESSION_LOG_LEVEL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
