"""Engine: an ONNX graph made ready on one device by onnxruntime or OpenVINO."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from tencrop.common.errors import WorkFailed, whole_line
from tencrop.runtime.disable_telemetry import disable_telemetry
from tencrop.runtime.engine_choice import EngineChoice, device_kind
from tencrop.runtime.onnxruntime_engine import OnnxRuntimeEngine
from tencrop.runtime.openvino_engine import OpenVinoEngine

# Images a forward pass, by the kind of device. On a CPU no size is faster; on an H200 this one is within a tenth of the
# fastest (docs/gpu.md).
BATCH_SIZE = {"cpu": 4, "cuda": 32}


class Engine(Protocol):
    """A graph on a device. At most `streams` callers at a time."""

    name: str  # onnxruntime, tensorrt, openvino
    device: str  # cpu, cuda:0, ...
    precision: str  # fp32, tf32, bf16, fp16
    streams: int
    forward_images: int | None  # of every forward pass, where the engine cuts and pads its batches to one size

    def run(self, batch: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """The graph's one input -> its outputs by name: those of `names`, all where there are none."""
        ...

    def close(self) -> None:
        """Free the engine's memory; it does not run again."""
        ...


OPENERS: Mapping[str, Callable[[bytes, EngineChoice], Engine]] = {
    "onnxruntime": OnnxRuntimeEngine,
    "tensorrt": OnnxRuntimeEngine,
    "openvino": OpenVinoEngine,
}


def engine_signature(engine: Engine) -> str:
    """Engine, device kind and precision, and options that change bits. Equal signatures give equal answers."""
    streams = f", {engine.streams} streams" if engine.streams > 1 else ""
    size = f", forward passes of {engine.forward_images}" if engine.forward_images else ""
    return f"{engine.name} on {device_kind(engine.device)} in {engine.precision}{streams}{size}"


def batch_size(engine: Engine) -> int:
    """Number of images that a forward pass should have."""
    return BATCH_SIZE[device_kind(engine.device)]


def open_engine(graph: bytes, choice: EngineChoice) -> Engine:
    """Make an ONNX file ready. Raises WorkFailed where this device or engine cannot run it."""
    disable_telemetry()
    try:
        return OPENERS[choice.engine](graph, choice)
    except WorkFailed:
        raise
    except Exception as error:  # both runtimes raise types of their own
        why = whole_line(error)
        raise WorkFailed(f"{choice.engine} on {choice.device} cannot run this file: {why}") from None
