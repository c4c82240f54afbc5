"""Session record: which code and device trained a run, and from which epoch. A checkpoint lists its run's sessions."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]  # the checkout, if this is one


def describe_session(device: torch.device, precision: str) -> dict[str, Any]:
    """Describe this process as the first session of a run, as plain data.

    `changed` maps the recipe's dotted keys to [old value, new value]. A resume sets `after_epoch` and `changed`. The
    first session of a training from a start also has `start`: the layers that it took, and those that it drew.
    """
    cuda = device.type == "cuda"
    return {
        "after_epoch": 0,
        "tencrop": _read_version(),
        "commit": _read_commit(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "precision": precision,
        "changed": {},
    }


def _read_version() -> str | None:
    try:
        return version("tencrop")
    except PackageNotFoundError:  # run from a folder that was never installed
        return None


def _read_commit() -> str | None:
    """Commit of this checkout, with "-dirty" where files differ from it. None for an installed package."""
    if not (ROOT / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # git is missing, or the checkout belongs to another user
        return None
    return described.stdout.strip()
