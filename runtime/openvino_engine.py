"""OpenVINO as an engine, on the CPU. The runtime is imported when an engine is opened."""

import os
from collections.abc import Sequence
from functools import cache
from queue import SimpleQueue
from typing import Any

import numpy as np

from tencrop.common.errors import WorkFailed
from tencrop.runtime.cores import container_limit
from tencrop.runtime.engine_choice import EngineChoice

PRECISION_HINT = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's names


class OpenVinoEngine:
    """OpenVINO on the CPU. Precision "auto" is bf16 where the CPU has it, else fp32.

    Its streams share the cores. An answer's bits never depend on the batch, so `deterministic` changes nothing.
    """

    name, device = "openvino", "cpu"
    forward_images: int | None = None

    def __init__(self, graph: bytes, choice: EngineChoice) -> None:
        core, process = _core()
        if process != os.getpid():
            raise WorkFailed("OpenVINO does not survive a fork", "start processes by spawn or forkserver")
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if choice.precision == "bf16" and not has_bf16:
            raise WorkFailed("precision bf16: this CPU has no bf16 instructions", "use fp32")
        self.precision = choice.precision
        if choice.precision == "auto":
            self.precision = "bf16" if has_bf16 else "fp32"
        self.streams = choice.streams
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINT[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads := container_limit():
            hints["INFERENCE_NUM_THREADS"] = threads  # OpenVINO sees the machine's cores, and would be throttled
        if self.streams > 1:
            hints["NUM_STREAMS"] = self.streams
        model = core.read_model(graph)
        self._outputs = [output.get_any_name() for output in model.outputs]  # before compiling, which adds names
        compiled = core.compile_model(model, "CPU", hints)
        self._idle: SimpleQueue[Any] = SimpleQueue()  # requests that no caller uses
        for _ in range(self.streams):
            self._idle.put(compiled.create_infer_request())

    def run(self, batch: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        request = self._idle.get()
        try:
            results = request.infer([batch], share_inputs=True)
            return {name: np.array(results[self._outputs.index(name)]) for name in names or self._outputs}
        finally:
            self._idle.put(request)

    def close(self) -> None:
        del self._idle


@cache
def _core() -> tuple[Any, int]:
    """The one Core of this process, which is never freed, and the process's id. In a forked child it may hang.

    Freeing a Core while another one lives leaves the main thread an alternate signal stack that no longer exists; the
    next signal then ends the process.
    """
    import openvino as ov

    return ov.Core(), os.getpid()
