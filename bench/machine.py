"""Describes the machine in one line, so that readers can compare figures."""

import platform
import re
import subprocess
from datetime import date
from pathlib import Path

from tencrop.runtime.cores import cores

UNITS = ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")  # instructions that decide how fast low precision is


def describe_machine() -> str:
    """CPU, its low-precision instructions, cores, GPU and date."""
    name = _cpu().get("model name", platform.machine())
    return ", ".join([name, *low_precision_units(), f"{cores()} cores", _gpus(), f"{date.today()}"])


def low_precision_units() -> list[str]:
    """The UNITS that the CPU has."""
    return [unit for unit in UNITS if unit in _cpu().get("flags", "").split()]


def _cpu() -> dict[str, str]:
    return dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))


def _gpus() -> str:
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "no GPU"
    return found.stdout.strip().replace("\n", ", ")
