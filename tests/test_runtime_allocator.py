"""runtime/allocator.py: tunes glibc's allocator, and leaves other C libraries and systems alone."""

import ctypes
import sys

import pytest

from tencrop.runtime.allocator import (
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    give_back_large_blocks,
    keep_freed_memory,
)


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
    assert libc.told == {M_MMAP_THRESHOLD: 4 << 20, M_TRIM_THRESHOLD: 64 << 20}


def test_the_options_have_glibcs_numbers() -> None:
    assert (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX) == (-1, -2, -3, -4)


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
