"""The number of workers of a server."""

import os
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.images.decode_processes import FEW
from tencrop.runtime.cores import cores
from tencrop.runtime.engine_choice import device_kind

DEV = Path("/dev")
CORES_OF_WORKER = 2


def count_workers(asked: int | None, device: str) -> int:
    """The number of workers; 0 where one process does all. `asked` is None where the machine decides.

    `device` is the option of that name. Asks no driver: a process that has asked CUDA's cannot be forked.
    Raises BadInput where the system has no workers.
    """
    can_fork = hasattr(os, "memfd_create")
    if asked and not can_fork:
        raise BadInput(f"--workers {asked}: workers need Linux", "leave the option out")
    if asked is not None:
        return asked
    has_gpu = device_kind(device) in ("auto", "cuda") and any(DEV.glob("nvidia[0-9]*"))
    if not can_fork or (cores() <= FEW and not has_gpu):
        return 0
    return max(1, cores() // CORES_OF_WORKER)
