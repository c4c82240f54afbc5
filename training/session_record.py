"""Session: one process's share of a run, told in the checkpoint: after which epoch, by which code, on what, with what changed."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]  # the checkout, where this is one


def describe_session(device: torch.device, precision: str) -> dict[str, Any]:
    """One that begins a run, as plain data; `changed` is of the recipe: dotted keys to [old value, new value]."""
    return {
        "after_epoch": 0,
        "tencrop": _version(),
        "commit": _commit(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "precision": precision,
        "changed": {},
    }


def _version() -> str | None:
    try:
        return version("tencrop")
    except PackageNotFoundError:  # run from a folder that was never installed
        return None


def _commit() -> str | None:
    """Of the checkout that this code is; with "-dirty" where files differ from it. None for an installed package."""
    if not (ROOT / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout of another user
        return None
    return told.stdout.strip()
