"""The number of CPU cores this process may use: the least of the machine's, its affinity's and its container's."""

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD" (cgroup v2)


def container_limit() -> int | None:
    """The container's CPU limit in whole cores, rounded up; None where there is none."""
    try:
        quota, period = CPU_MAX.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file; "max"
        return None


def cores() -> int:
    """The number of cores that this process may use, at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, container_limit() or usable)
