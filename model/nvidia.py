"""The NVIDIA driver, asked for its GPUs before a runtime is, whose refusals name no reason."""

import ctypes

from model.errors import WorkFailed

NO_DEVICE = 100  # cuda.h: CUDA_ERROR_NO_DEVICE


class NoGpu(WorkFailed):
    """This machine has no NVIDIA GPU, or hides it: nothing is wrong."""


def need_gpu(device: str) -> None:
    """Of a device "cuda:N". Raises NoGpu where there is none to expect, another WorkFailed where one does not work or is not this many."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpu(f"--device {device}: no NVIDIA driver on this machine (libcuda.so.1 is not found)") from None
    status = driver.cuInit(0)
    if status == NO_DEVICE:
        raise NoGpu(f"--device {device}: the NVIDIA driver shows no GPU (there is none, or CUDA_VISIBLE_DEVICES hides it)")
    count = ctypes.c_int()
    if status or driver.cuDeviceGetCount(ctypes.byref(count)):
        raise WorkFailed(f"--device {device}: the NVIDIA driver is installed but finds no usable GPU")
    if int(device.partition(":")[2]) >= count.value:
        raise WorkFailed(f"--device {device}: the NVIDIA driver sees {count.value} GPU(s)")
