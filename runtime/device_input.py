"""DeviceInput: memory through which the batches of one stream reach a device."""

from typing import Any, NamedTuple

import numpy as np

from tencrop.runtime.engine_choice import device_kind
from tencrop.runtime.pinned_memory import pin, unpin


class _Memory(NamedTuple):
    """A batch's two places: an array of the host, pinned where the device is a GPU, and a tensor of the device."""

    host: np.ndarray
    device: Any  # OrtValue


class DeviceInput:
    """Keeps memory for each shape of a batch. One caller at a time, until its forward pass is over.

    Copying into pinned memory runs without Python's lock. The lock is then held for the short copy to the device only.
    """

    def __init__(self, device: str) -> None:
        self._kind, self._number = device_kind(device), int(device.partition(":")[2] or 0)
        self._memory: dict[tuple[int, ...], _Memory] = {}  # by the shape of the batch

    def load(self, batch: np.ndarray) -> Any:
        """Copy a batch to the device. Returns its OrtValue there."""
        if batch.shape not in self._memory:
            self._memory[batch.shape] = self._allocate(batch)
        memory = self._memory[batch.shape]
        np.copyto(memory.host, batch)
        memory.device.update_inplace(memory.host)
        return memory.device

    def close(self) -> None:
        """Free the memory."""
        for memory in self._memory.values():
            if self._kind != "cpu":
                unpin(memory.host, self._number)
        self._memory.clear()

    def _allocate(self, batch: np.ndarray) -> _Memory:
        from onnxruntime import OrtValue

        host = np.empty(batch.shape, batch.dtype)
        if self._kind != "cpu":
            pin(host, self._number)
        return _Memory(host, OrtValue.ortvalue_from_shape_and_type(batch.shape, batch.dtype, self._kind, self._number))
