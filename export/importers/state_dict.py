"""Reads a state dict of float weights from .safetensors or from torch's .pth, without running pickled code."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tencrop.common.errors import BadInput, one_line

WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep a state dict
SAFETENSORS_ERRORS = (
    OSError,
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
)  # the last two for types that numpy lacks


def read_state_dict(path: Path) -> Mapping[str, np.ndarray]:
    """Weights by name, float32. Raises BadInput where the file is damaged or holds anything but float weights."""
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    try:
        weights = load_file(path)
    except SAFETENSORS_ERRORS as error:
        raise BadInput(f"{path}: not a safetensors file, or a damaged one ({one_line(error)})") from None
    odd = next((name for name, value in weights.items() if value.dtype.kind != "f"), None)
    if odd is not None:
        raise BadInput(f"{path}: {one_line(odd)!r} is {weights[odd].dtype}; expected float weights")
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def _read_pickle(path: Path) -> Mapping[str, np.ndarray]:
    import torch

    loaded = _load_pickle(path)
    for key in WRAPPERS:
        loaded = loaded[key] if isinstance(loaded, dict) and isinstance(loaded.get(key), dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BadInput(f"{path}: holds no state dict", "save the net's state_dict()")
    for name, value in loaded.items():
        if not value.is_floating_point() or value.is_meta or value.layout != torch.strided:
            kind = "meta" if value.is_meta else f"{value.layout} {value.dtype}".replace("torch.", "")
            raise BadInput(f"{path}: {one_line(name)!r} is {kind}; expected float weights, each number of them")
    return {str(name): value.detach().float().numpy() for name, value in loaded.items()}


def _load_pickle(path: Path) -> Any:
    """The file's object; torch refuses pickled code. Raises BadInput."""
    import torch

    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of tensors that _read_pickle refuses
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile archive raises any type
        raise BadInput(
            f"{path}: damaged, or more than weights only ({type(error).__name__})", "save the net's state_dict()"
        ) from None
