"""Pins memory of the host, so that a GPU reads it by itself and at full speed. A pinned page is never swapped."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

PORTABLE = 1  # cuda.h: CU_MEMHOSTREGISTER_PORTABLE, pinned for every context


def pin(array: np.ndarray, gpu: int) -> bool:
    """Pin an array's memory. Returns False where the driver refuses; the array is then copied as any other, slower."""
    with _context(gpu) as driver:
        size = ctypes.c_size_t(array.nbytes)
        return driver is not None and not driver.cuMemHostRegister_v2(_address(array), size, PORTABLE)


def unpin(array: np.ndarray, gpu: int) -> None:
    """Undo `pin`, before the array is freed."""
    with _context(gpu) as driver:
        if driver is not None:
            driver.cuMemHostUnregister(_address(array))


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@contextmanager
def _context(gpu: int) -> Iterator[ctypes.CDLL | None]:
    """Give the driver, with the context of the GPU that runtimes use current in this thread; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        driver = None
    context = ctypes.c_void_p()
    if driver is None or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), gpu):
        yield None
        return
    driver.cuCtxPushCurrent_v2(context)
    try:
        yield driver
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))
        driver.cuDevicePrimaryCtxRelease_v2(gpu)
