"""runtime/pinned_memory.py and device_input.py: a stand-in plays the driver; what it refuses costs speed alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tencrop.runtime.device_input import DeviceInput
from tencrop.runtime.pinned_memory import pin, unpin

CONTEXT = 4711


def driver(monkeypatch: pytest.MonkeyPatch, **statuses: int) -> list[tuple[Any, ...]]:
    """A libcuda.so.1 whose functions return these statuses, else 0. Returns the list of its calls."""
    calls: list[tuple[Any, ...]] = []

    def function(name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == "cuDevicePrimaryCtxRetain":
                arguments[0]._obj.value = CONTEXT
            calls.append((name, *(getattr(argument, "value", argument) for argument in arguments)))
            return statuses.get(name, 0)

        return call

    names = (
        "cuDevicePrimaryCtxRetain",
        "cuDevicePrimaryCtxRelease_v2",
        "cuCtxPushCurrent_v2",
        "cuCtxPopCurrent_v2",
        "cuMemHostRegister_v2",
        "cuMemHostUnregister",
    )
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(**{name: function(name) for name in names}))
    return calls


def test_memory_is_pinned_and_freed_in_the_context_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, array = driver(monkeypatch), np.zeros((2, 3), np.uint8)
    assert pin(array, 1)
    unpin(array, 1)
    names = [name for name, *_ in calls]
    around = (
        ["cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2"],
        ["cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2"],
    )
    assert names == [
        name for work in ("cuMemHostRegister_v2", "cuMemHostUnregister") for name in (*around[0], work, *around[1])
    ]
    assert calls[1] == ("cuCtxPushCurrent_v2", CONTEXT)
    assert calls[2] == ("cuMemHostRegister_v2", array.ctypes.data, array.nbytes, 1)
    assert calls[7] == ("cuMemHostUnregister", array.ctypes.data)
    assert {call[-1] for call in calls if "Primary" in call[0]} == {1}


@pytest.mark.parametrize("refusing", ["cuDevicePrimaryCtxRetain", "cuMemHostRegister_v2"])
def test_a_refusal_is_no_error(monkeypatch: pytest.MonkeyPatch, refusing: str) -> None:
    calls = driver(monkeypatch, **{refusing: 2})
    assert not pin(np.zeros(4, np.uint8), 0)
    assert ("cuCtxPushCurrent_v2" in dict.fromkeys(name for name, *_ in calls)) == (refusing == "cuMemHostRegister_v2")


def test_without_a_driver_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    array = np.zeros(4, np.uint8)
    assert not pin(array, 0)
    unpin(array, 0)


def test_a_loaded_batch_is_a_copy_in_memory_that_is_used_again() -> None:
    inputs, first = DeviceInput("cpu"), np.arange(6, dtype=np.uint8).reshape(2, 3)
    loaded = inputs.load(first)
    first[:] = 0
    assert loaded.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert inputs.load(first) is loaded and inputs.load(first[:1]) is not loaded
    assert not loaded.numpy().any()
