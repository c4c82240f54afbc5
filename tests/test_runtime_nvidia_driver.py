"""runtime/nvidia_driver.py: a stand-in plays the driver; each of its answers gives its own refusal."""

from types import SimpleNamespace
from typing import Any

import pytest

from tencrop.common.errors import WorkFailed
from tencrop.runtime.nvidia_driver import NoGpu, require_gpu


def driver(
    monkeypatch: pytest.MonkeyPatch,
    status: int = 0,
    version: int = 13000,
    gpus: int = 2,
    counting: int = 0,
    asking: int = 0,
) -> None:
    """A libcuda.so.1 that answers so, by the signatures of cuda.h."""

    def tells(value: int, status: int = 0) -> Any:
        def function(pointer: Any) -> int:
            pointer._obj.value = value
            return status

        return function

    def attribute(pointer: Any, which: int, number: int) -> int:
        pointer._obj.value = {75: (8, 9)[number]}[which]
        return asking

    told = {"cuDriverGetVersion": tells(version), "cuDeviceGetCount": tells(gpus, counting)}
    functions = SimpleNamespace(cuInit=lambda flags: status, cuDeviceGetAttribute=attribute, **told)
    monkeypatch.setattr("ctypes.CDLL", lambda name: functions)


def test_a_gpu_that_works_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch)
    assert [require_gpu(f"cuda:{number}", "13.0") for number in (0, 1)] == [8, 9]  # their compute capability
    driver(monkeypatch, version=13020)
    require_gpu("cuda:0", "12.8")
    require_gpu("cuda:0", "")  # an onnxruntime without CUDA is refused for that


@pytest.mark.parametrize(
    ("answers", "refusal", "why"),
    [
        ({"status": 100}, NoGpu, "CUDA_VISIBLE_DEVICES hides it"),
        ({"status": 803}, WorkFailed, "no usable GPU .CUDA error 803"),
        ({"counting": 999}, WorkFailed, "no usable GPU .CUDA error 999"),
        ({"asking": 801}, WorkFailed, "does not give the compute capability .CUDA error 801"),
        ({"version": 12080}, WorkFailed, "for CUDA 12.8, this onnxruntime for 13.0; update the driver"),
        ({"gpus": 1}, WorkFailed, "sees 1 GPU"),
    ],
)
def test_only_an_absent_or_hidden_gpu_may_be_skipped_silently(
    answers: dict[str, int], refusal: type[WorkFailed], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, **answers)
    with pytest.raises(WorkFailed, match=why) as refused:
        require_gpu("cuda:1", "13.0")
    assert type(refused.value) is refusal and "\n" not in str(refused.value)
