"""onnxruntime as an engine: CUDA, TensorRT and the CPU. The runtime is imported when an engine is opened."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from queue import SimpleQueue
from typing import Any

import numpy as np

from tencrop.common.errors import WorkFailed
from tencrop.common.extras import install_line, require
from tencrop.runtime.cores import container_limit
from tencrop.runtime.device_input import DeviceInput
from tencrop.runtime.engine_choice import EngineChoice, device_kind
from tencrop.runtime.nvidia_driver import require_gpu
from tencrop.runtime.onnxruntime_fp16 import convert_to_fp16
from tencrop.runtime.onnxruntime_lrn import decompose_lrn

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
HAS_TF32 = 8  # compute capability, Ampere
SESSION_LOG_LEVEL = 4  # "fatal": tencrop reports an error itself, once
DEFAULT_LOG_LEVEL = 3  # "error": onnxruntime warns of each device
DETERMINISTIC_IMAGES = {"cpu": 1, "cuda": 32}  # of every forward pass; on a CPU batches gain nothing


class OnnxRuntimeEngine:
    """onnxruntime with one provider; no node may fall back to another device in silence.

    Its streams share the session. On a GPU, the copy of one batch to the device hides behind the forward pass of
    another. Kernels may sum in another order for another number of images; the choice "deterministic" fixes the number.

    Raises WorkFailed where the runtime, the device, its driver or its provider is missing.
    """

    def __init__(self, graph: bytes, choice: EngineChoice) -> None:
        _require_runtime(choice.device)
        import onnxruntime as ort

        self.name, self.device, self.streams = choice.engine, choice.device, choice.streams
        self.forward_images = DETERMINISTIC_IMAGES[device_kind(self.device)] if choice.deterministic else None
        ort.set_default_logger_severity(DEFAULT_LOG_LEVEL)
        capability = require_gpu(self.device, ort.cuda_version) if self.device != "cpu" else 0
        self.precision = _resolve_precision(choice, capability)
        provider, settings = _provider(choice, self.precision)
        options = ort.SessionOptions()
        options.log_severity_level = SESSION_LOG_LEVEL
        options.intra_op_num_threads = container_limit() or 0  # 0: as many as there are cores
        options.use_deterministic_compute = choice.deterministic
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave waiting cores to the decoders
        if self.device == "cpu":
            graph = decompose_lrn(graph)
        else:
            if provider == CUDA and self.precision == "fp16":
                graph = convert_to_fp16(graph)  # TensorRT does so by itself
            _load_cuda(self.device, provider)
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session = ort.InferenceSession(graph, options, providers=[(provider, settings)], enable_fallback=0)
        if self._session.get_providers()[0] != provider:
            raise WorkFailed(f"device {self.device}: onnxruntime fell back to {self._session.get_providers()[0]}")
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs: SimpleQueue[DeviceInput] = SimpleQueue()  # that no caller uses
        for _ in range(self.streams):
            self._inputs.put(DeviceInput(self.device))

    def run(self, batch: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        run, names = self._run_on_cpu if self.device == "cpu" else self._run_on_device, names or self._outputs
        if self.forward_images is None:
            values = run(batch, names)
        else:
            parts = [run(part, names) for part in _cut(batch, self.forward_images)]
            values = [np.concatenate(each)[: len(batch)] for each in zip(*parts, strict=True)]
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        del self._session
        for _ in range(self.streams):
            self._inputs.get().close()

    def _run_on_cpu(self, batch: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        return list(self._session.run(list(names), {self._input: batch}))

    def _run_on_device(self, batch: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        inputs = self._inputs.get()
        try:
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(self._input, inputs.load(batch))
            for name in names:
                binding.bind_output(name)
            self._session.run_with_iobinding(binding)
            return list(binding.copy_outputs_to_cpu())
        finally:
            self._inputs.put(inputs)


def _cut(batch: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut a batch into batches of one size, the last one filled with zeros."""
    padding = np.zeros((-len(batch) % size, *batch.shape[1:]), batch.dtype)
    filled = np.concatenate([batch, padding]) if len(padding) else batch
    return [filled[start : start + size] for start in range(0, len(filled), size)]


def _require_runtime(device: str) -> None:
    """Raises NoGpu where the machine has no GPU for `device`, WorkFailed where onnxruntime is not installed."""
    try:
        require("cpu" if device == "cpu" else "gpu")
    except WorkFailed:
        if device != "cpu":
            require_gpu(device, "")  # a machine without a GPU does not lack the package
        raise


def _load_cuda(device: str, provider: str) -> None:
    import onnxruntime as ort

    if provider not in ort.get_available_providers():
        what = f"device {device}: this onnxruntime has no {provider}"
        raise WorkFailed(what, f"pip uninstall onnxruntime, then {install_line(['gpu'])}")
    with redirect_stdout(sys.stderr):  # it prints the libraries that it misses, and stdout is for answers
        ort.preload_dlls()  # without torch nothing else finds the CUDA libraries that pip installed


def _resolve_precision(choice: EngineChoice, capability: int) -> str:
    """The precision that "auto" stands for. Raises WorkFailed where a GPU would compute in fp32 and call it TF32."""
    has_tf32 = choice.engine == "onnxruntime" and capability >= HAS_TF32
    if choice.precision == "tf32" and not has_tf32:
        raise WorkFailed(f"precision tf32: {choice.device} has no TF32 (it came with Ampere)", "use fp32")
    if choice.precision != "auto":
        return choice.precision
    return "tf32" if has_tf32 else "fp32"


def _provider(choice: EngineChoice, precision: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of onnxruntime's execution provider."""
    number = choice.device.partition(":")[2]
    if choice.engine == "tensorrt":
        return TENSORRT, {"device_id": number, "trt_fp16_enable": str(precision == "fp16")}
    if choice.device == "cpu":
        return CPU, {}
    tf32 = str(int(precision == "tf32"))
    search = {"cudnn_conv_algo_search": "HEURISTIC"} if choice.deterministic else {}  # else by trial, which may differ
    return CUDA, {
        **search,
        "device_id": number,
        "use_tf32": tf32,
        "arena_extend_strategy": "kSameAsRequested",  # grow by what is needed, not by doubling
    }
