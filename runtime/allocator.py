"""Tunes memory to what this process does: glibc's allocator, where there is one, and Python's garbage collector."""

import ctypes
import gc
import sys

# malloc.h of glibc
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -3, -4, -8


def keep_freed_memory() -> None:
    """For training: keep large blocks. The kernel would map and clear their pages anew at every step."""
    _set_options({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**28})


def give_back_large_blocks() -> None:
    """For decoding images: return blocks of 4 MiB and more to the kernel at once. Only large images need such blocks.

    All threads share one heap, which keeps at most 8 MiB at its end. By default each thread has its own, and the sum of
    what they keep grows for hours.
    """
    _set_options({M_MMAP_THRESHOLD: 4 << 20, M_TRIM_THRESHOLD: 8 << 20, M_ARENA_MAX: 1})


def give_back_free_memory() -> None:
    """Collect garbage, then return free pages to the kernel, also those within the heap. A closed model leaves many."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def keep_start_objects() -> None:
    """Leave the objects that exist now out of all garbage collections: a full one takes 0.1 s after all imports."""
    gc.collect()
    gc.freeze()


def _set_options(options: dict[int, int]) -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
