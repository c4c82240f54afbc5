"""The NVIDIA driver, asked for its GPUs before a runtime is: a runtime's own refusal names no reason."""

import ctypes

from tencrop.common.errors import WorkFailed

NO_DEVICE = 100  # cuda.h: CUDA_ERROR_NO_DEVICE
CAPABILITY = 75  # cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR


class NoGpu(WorkFailed):
    """This machine has no NVIDIA GPU, or hides it: nothing is wrong."""


def require_gpu(device: str, cuda: str) -> int:
    """Of a device "cuda:N" and a runtime made for CUDA "13.0" ("": for none): its compute capability, the part before the point.

    Raises NoGpu where there is no GPU to expect, another WorkFailed where there are fewer, or where the driver is broken or too old.
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
        its = f"{major}.{minor // 10}"
        raise WorkFailed(
            f"device {device}: the NVIDIA driver is for CUDA {its}, this onnxruntime for {cuda}; update the driver"
        )
    number = int(device.partition(":")[2])
    if number >= count.value:
        raise WorkFailed(f"device {device}: the NVIDIA driver sees {count.value} GPU(s)")
    capability = ctypes.c_int()
    if status := driver.cuDeviceGetAttribute(ctypes.byref(capability), CAPABILITY, number):
        raise WorkFailed(f"device {device}: the NVIDIA driver does not tell what the GPU can do (CUDA error {status})")
    return capability.value
