"""Asks the NVIDIA driver which GPUs exist before a runtime is loaded: a runtime's own failure gives no reason."""

import ctypes

from tencrop.common.errors import WorkFailed

NO_DEVICE = 100  # cuda.h: CUDA_ERROR_NO_DEVICE
CAPABILITY = 75  # cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR


class NoGpu(WorkFailed):
    """This machine has no NVIDIA GPU, or hides it. That is no fault of the machine."""


def require_gpu(device: str, cuda: str) -> int:
    """Return the major compute capability of device "cuda:N". `cuda` is the runtime's CUDA: "13.0", or "" for none.

    Raises NoGpu where the machine has no GPU, WorkFailed where it has fewer GPUs or its driver is broken or too old.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpu(f"device {device}: no NVIDIA driver on this machine (libcuda.so.1 is not found)") from None
    status = driver.cuInit(0)
    if status == NO_DEVICE:
        raise NoGpu(
            f"device {device}: the NVIDIA driver shows no GPU (there is none, or CUDA_VISIBLE_DEVICES hides it)"
        )
    version, count = ctypes.c_int(), ctypes.c_int()
    status = status or driver.cuDriverGetVersion(ctypes.byref(version)) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status:
        raise WorkFailed(
            f"device {device}: the NVIDIA driver is installed but finds no usable GPU (CUDA error {status})"
        )
    major, minor = divmod(version.value, 1000)
    if major < int(cuda.partition(".")[0] or 0):
        raise WorkFailed(
            f"device {device}: the NVIDIA driver is for CUDA {major}.{minor // 10}, this onnxruntime for {cuda}",
            "update the driver",
        )
    number = int(device.partition(":")[2])
    if number >= count.value:
        raise WorkFailed(f"device {device}: the NVIDIA driver sees {count.value} GPU(s)")
    capability = ctypes.c_int()
    if status := driver.cuDeviceGetAttribute(ctypes.byref(capability), CAPABILITY, number):
        raise WorkFailed(
            f"device {device}: the NVIDIA driver does not give the compute capability (CUDA error {status})"
        )
    return capability.value
