"""runtime/cores.py: counts the cores of the process, at most those of its container's limit."""

import os
from pathlib import Path

import pytest

from tencrop.runtime import cores as room
from tencrop.runtime.cores import container_limit, cores


@pytest.mark.parametrize(
    ("text", "bound", "limited", "expected"),
    [
        ("max 100000\n", 8, None, 8),
        ("200000 100000\n", 8, 2, 2),
        ("150000 100000\n", 8, 2, 2),  # one and a half
        ("50000 100000\n", 8, 1, 1),
        ("900000 100000\n", 8, 9, 8),
        ("nonsense", 8, None, 8),
        (None, 8, None, 8),
    ],
)
def test_the_containers_limit_counts(
    text: str | None, bound: int, limited: int | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(room, "CPU_MAX", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)))
    assert (container_limit(), cores()) == (limited, expected)
