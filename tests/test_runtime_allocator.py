"""runtime/allocator.py: tunes glibc's allocator, and leaves other C libraries and systems alone."""

import ctypes
import subprocess
import sys

import pytest

from tencrop.runtime.allocator import (
    M_ARENA_MAX,
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    give_back_large_blocks,
    keep_freed_memory,
)

HOLD_AND_FREE = """
import re, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tencrop.runtime.allocator import give_back_large_blocks

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

give_back_large_blocks()
both = threading.Barrier(8)
before = resident()
with ThreadPoolExecutor(8) as pool:
    def hold(number):
        both.wait()
        for turn in range(8):
            if turn == number:
                blocks = [bytearray(b"x") * 100_000 for _ in range(320)]
                del blocks
            both.wait()
    list(pool.map(hold, range(8)))
    print(resident() - before)
"""


class Libc:
    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    def mallopt(self, option: int, value: int) -> int:
        self.told[option] = value
        return 1


def test_large_blocks_are_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
    assert libc.told[M_MMAP_MAX] == 0
    assert libc.told[M_TRIM_THRESHOLD] == 2**31 - 1
    assert libc.told[M_TOP_PAD] > 0


def test_a_server_gives_large_blocks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(sys, "platform", "linux")
    give_back_large_blocks()
    assert libc.told == {M_MMAP_THRESHOLD: 4 << 20, M_TRIM_THRESHOLD: 8 << 20, M_ARENA_MAX: 1}


def test_the_options_have_glibcs_numbers() -> None:
    assert (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX) == (-1, -2, -3, -4)
    assert M_ARENA_MAX == -8


def test_what_threads_free_does_not_add_up() -> None:
    """Eight threads, one after another, each hold 32 MiB and free them; the process lives on with its threads."""
    printed = subprocess.run([sys.executable, "-c", HOLD_AND_FREE], capture_output=True, text=True, check=True).stdout
    assert int(printed) < 40 << 10


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(sys, "platform", platform)
    keep_freed_memory()
    assert libc.told == {}


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
