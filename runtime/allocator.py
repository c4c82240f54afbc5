"""The C allocator (glibc's; elsewhere nothing is done), told what the work of this process is like."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4  # malloc.h of glibc


def keep_freed_memory() -> None:
    """For training: never give large blocks back to the kernel, which would map and clear their pages anew at every step."""
    _tell({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**28})


def give_back_large_blocks() -> None:
    """For serving: blocks of 4 MiB, which only large images need, go back to the kernel at once instead of staying with their thread."""
    _tell({M_MMAP_THRESHOLD: 4 << 20, M_TRIM_THRESHOLD: 64 << 20})


def _tell(options: dict[int, int]) -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
