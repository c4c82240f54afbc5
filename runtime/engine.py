"""Engines: a graph made ready on one device. onnxruntime (CUDA, TensorRT, CPU) and OpenVINO (CPU), imported only when asked for."""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from tencrop.common.errors import BadInput, WorkFailed, one_line
from tencrop.runtime.cores import container_limit
from tencrop.runtime.disable_telemetry import disable_telemetry
from tencrop.runtime.nvidia_driver import require_gpu
from tencrop.runtime.onnxruntime_lrn import decompose_lrn

ENGINES = ("auto", "onnxruntime", "tensorrt", "openvino")

OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16"}
SUPPORTED_PRECISIONS = {
    ("openvino", "cpu"): ("fp32", "bf16"),
    ("onnxruntime", "cpu"): ("fp32",),
    ("onnxruntime", "cuda"): ("fp32", "tf32"),
    ("tensorrt", "cuda"): ("fp32", "fp16"),
}  # precisions, besides auto
PRECISIONS = ("auto", *dict.fromkeys(chain.from_iterable(SUPPORTED_PRECISIONS.values())))
HAS_TF32 = 8  # compute capability, Ampere
BATCH_SIZE = {"cpu": 4, "cuda": 32}  # images, by the kind of device
QUIET, ERRORS = 4, 3  # onnxruntime's log levels "fatal", for sessions: what goes wrong is said once, by us; and "error"


@dataclass(frozen=True)
class EngineOptions:
    """What the user asked for: --device auto|cpu|cuda|cuda:N, --engine, --precision."""

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"


class Engine(Protocol):
    """A graph on a device. One caller at a time."""

    name: str  # onnxruntime, tensorrt, openvino
    device: str  # cpu, cuda:0, ...
    precision: str  # fp32, tf32, bf16, fp16

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's one input -> its outputs by name."""
        ...

    def close(self) -> None:
        """Free the engine's memory; it does not run again."""
        ...


def device_kind(device: str) -> str:
    """cpu or cuda, without the number."""
    return device.partition(":")[0]


def engine_signature(engine: Engine) -> str:
    """How it computes; two of one way give one answer to an image."""
    return f"{engine.name} on {device_kind(engine.device)} in {engine.precision}"


def batch_size(engine: Engine) -> int:
    """How many images are best given to it at once: on a CPU as fast as any, on an H200 within a tenth of the fastest (docs/gpu.md)."""
    return BATCH_SIZE[device_kind(engine.device)]


class Choice(NamedTuple):
    """One engine on one device at one precision ("auto": bf16 on a CPU, TF32 on a GPU, where it has them, else fp32)."""

    engine: str
    device: str
    precision: str


def choices(options: EngineOptions) -> list[Choice]:
    """What to try, in order: a fixed order, never a timing. Raises BadInput where nothing fits what was asked for."""
    kind, _, number = options.device.partition(":")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", options.device):
        raise BadInput(f"device {options.device}: expected auto, cpu, cuda or cuda:N")
    for flag, value, known in (("engine", options.engine, ENGINES), ("precision", options.precision, PRECISIONS)):
        if value not in known:
            raise BadInput(f"{flag} {value}: expected {', '.join(known)}")
    cuda = f"cuda:{number or 0}"
    order = [
        Choice("onnxruntime", cuda, "auto"),
        Choice("onnxruntime", cuda, "fp32"),  # for a net that TF32 moves too far
        Choice("openvino", "cpu", "auto"),
        Choice("onnxruntime", "cpu", "auto"),
        Choice("tensorrt", cuda, "auto"),  # only when asked for
    ]
    on_device = [c for c in order if kind == "auto" or c.device.startswith(kind)]
    by_engine = [
        c for c in on_device if c.engine == options.engine or (options.engine == "auto" and c.engine != "tensorrt")
    ]
    if not by_engine:
        raise BadInput(f"engine {options.engine} does not run on device {options.device}")
    if options.precision == "auto":
        return by_engine
    able = [c for c in by_engine if options.precision in SUPPORTED_PRECISIONS[c.engine, device_kind(c.device)]]
    fitting = list(dict.fromkeys(c._replace(precision=options.precision) for c in able))
    if not fitting:
        asked = f"engine {options.engine} on device {options.device}"
        offered = sorted(
            {precision for c in by_engine for precision in SUPPORTED_PRECISIONS[c.engine, device_kind(c.device)]}
        )
        raise BadInput(
            f"precision {options.precision}: not offered by {asked}, which computes in {' or '.join(offered)}"
        )
    return fitting


def open_engine(graph: bytes, choice: Choice) -> Engine:
    """Make an ONNX file ready. Raises WorkFailed, one line, where this device or engine cannot run it."""
    disable_telemetry()
    try:
        return OPENERS[choice.engine](graph, choice)
    except WorkFailed:
        raise
    except Exception as error:  # both runtimes raise types of their own
        why = one_line(error)
        raise WorkFailed(f"{choice.engine} on {choice.device} cannot run this file: {why}") from None


class OnnxRuntime:
    """onnxruntime with one provider; no node may fall back to another device in silence."""

    def __init__(self, graph: bytes, choice: Choice) -> None:
        import onnxruntime as ort

        self.name, self.device = choice.engine, choice.device
        ort.set_default_logger_severity(ERRORS)  # it warns of each device
        capability = require_gpu(self.device, ort.cuda_version) if self.device != "cpu" else 0
        self.precision = _precision(choice, capability)
        provider, settings = _provider(choice, self.precision)
        if self.device != "cpu":
            if provider not in ort.get_available_providers():
                raise WorkFailed(
                    f"device {self.device}: this onnxruntime has no {provider}; install onnxruntime-gpu[cuda,cudnn]"
                )
            with redirect_stdout(sys.stderr):  # it prints what it misses; stdout is for answers
                ort.preload_dlls()  # without torch nothing else finds the CUDA libraries that pip installed
        session_options = ort.SessionOptions()
        session_options.log_severity_level = QUIET
        session_options.intra_op_num_threads = container_limit() or 0  # 0: as many as there are cores
        session_options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # cores that wait are the decoders'
        if self.device == "cpu":
            graph = decompose_lrn(graph)
        else:
            session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session = ort.InferenceSession(
            graph, session_options, providers=[(provider, settings)], enable_fallback=0
        )
        if self._session.get_providers()[0] != provider:
            raise WorkFailed(f"device {self.device}: onnxruntime fell back to {self._session.get_providers()[0]}")
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._buffers: dict[tuple[int, ...], Any] = {}  # on the device, one of each shape that came

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        values = self._session.run(None, {self._input: batch}) if self.device == "cpu" else self._bound(batch)
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        del self._session
        self._buffers.clear()

    def _bound(self, batch: np.ndarray) -> list[np.ndarray]:
        """A run whose input is copied into memory that the device keeps for its shape."""
        from onnxruntime import OrtValue

        kind, _, number = self.device.partition(":")
        buffer = self._buffers.get(batch.shape)
        if buffer is None:
            buffer = self._buffers[batch.shape] = OrtValue.ortvalue_from_shape_and_type(
                batch.shape, batch.dtype, kind, int(number or 0)
            )
        buffer.update_inplace(batch)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, buffer)
        for name in self._outputs:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())


class OpenVino:
    """OpenVINO on the CPU: bf16 where the CPU has it and nothing else was asked for, else fp32."""

    name, device = "openvino", "cpu"

    def __init__(self, graph: bytes, choice: Choice) -> None:
        core = _openvino()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if choice.precision == "bf16" and not has_bf16:
            raise WorkFailed("precision bf16: this CPU has no bf16 instructions; use fp32")
        self.precision = ("bf16" if has_bf16 else "fp32") if choice.precision == "auto" else choice.precision
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads := container_limit():
            hints["INFERENCE_NUM_THREADS"] = threads  # it sees the machine's cores, and would be throttled
        model = core.read_model(graph)
        self._outputs = [output.get_any_name() for output in model.outputs]  # compiling adds inner names to them
        self._request = core.compile_model(model, "CPU", hints).create_infer_request()

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        results = self._request.infer([batch], share_inputs=True)
        return {name: np.array(results[index]) for index, name in enumerate(self._outputs)}

    def close(self) -> None:
        del self._request


OPENERS: Mapping[str, Callable[[bytes, Choice], Engine]] = {
    "onnxruntime": OnnxRuntime,
    "tensorrt": OnnxRuntime,
    "openvino": OpenVino,
}


@cache
def _openvino() -> Any:
    """The one core of this process, which lives as long as it: a core that dies before another one leaves the main thread an
    alternate signal stack that is no longer there, and the next signal ends the process."""
    import openvino as ov

    return ov.Core()


def _precision(choice: Choice, capability: int) -> str:
    """What "auto" comes to for onnxruntime. Raises WorkFailed where a GPU would compute in fp32 and call it TF32."""
    has_tf32 = choice.engine == "onnxruntime" and capability >= HAS_TF32
    if choice.precision == "tf32" and not has_tf32:
        raise WorkFailed(f"precision tf32: {choice.device} has no TF32 (it came with Ampere); use fp32")
    return choice.precision if choice.precision != "auto" else "tf32" if has_tf32 else "fp32"


def _provider(choice: Choice, precision: str) -> tuple[str, dict[str, Any]]:
    """onnxruntime's provider and its options."""
    number = choice.device.partition(":")[2]
    if choice.engine == "tensorrt":
        return "TensorrtExecutionProvider", {"device_id": number, "trt_fp16_enable": str(precision == "fp16")}
    if choice.device == "cpu":
        return "CPUExecutionProvider", {}
    tf32 = str(int(precision == "tf32"))
    return "CUDAExecutionProvider", {
        "device_id": number,
        "use_tf32": tf32,
        "arena_extend_strategy": "kSameAsRequested",  # takes what is needed and does not double
    }
