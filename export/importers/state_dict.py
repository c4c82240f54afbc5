"""Reads a state dict of float weights from .safetensors or from torch's .pth, without running pickled code."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tencrop.common.errors import BadInput, one_line
from tencrop.common.extras import require

WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema")  # keys of state dicts in files, the first one wins
MODULES = ("module", "_orig_mod")  # names that DataParallel and torch.compile put around a net or a part of it
COUNTERS = ("n_averaged",)  # numbers that AveragedModel keeps beside the weights
SAVE_WEIGHTS = "save the net's state_dict()"
SAFETENSORS_ERRORS = (
    OSError,
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
)  # the last two for types that numpy lacks


class StateDict(NamedTuple):
    """Weights by name, float32, and a line for a choice among several state dicts of the file."""

    weights: Mapping[str, np.ndarray]
    assumed: tuple[str, ...] = ()


def read_state_dict(path: Path) -> StateDict:
    """Read weights under the names that the net itself gives them.

    Raises BadInput where the file is damaged, or holds anything but finite float weights.
    """
    read = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(path)
    weights: dict[str, np.ndarray] = {}
    for name, value in read.weights.items():
        own = ".".join(part for part in name.split(".") if part not in MODULES)
        if own in weights:
            raise BadInput(f"{path}: holds two weights {one_line(own)!r}, one as {one_line(name)!r}", SAVE_WEIGHTS)
        if not np.isfinite(value).all():
            raise BadInput(f"{path}: {one_line(name)!r} holds values that are no float32 numbers")
        weights[own] = value
    return StateDict(weights, read.assumed)


def _read_safetensors(path: Path) -> StateDict:
    try:
        weights = load_file(path)
    except SAFETENSORS_ERRORS as error:
        raise BadInput(f"{path}: not a safetensors file, or a damaged one ({one_line(error)})") from None
    odd = next((name for name, value in weights.items() if value.dtype.kind != "f"), None)
    if odd is not None:
        raise BadInput(f"{path}: {one_line(odd)!r} is {weights[odd].dtype}; expected float weights")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes an infinity
        return StateDict({name: np.asarray(value, np.float32) for name, value in weights.items()})


def _read_pickle(path: Path) -> StateDict:
    require("train")
    import torch

    loaded, assumed = _unwrap(_load_pickle(path))
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        keys = f" under {', '.join(map(repr, WRAPPERS[:-1]))} or {WRAPPERS[-1]!r}"
        raise BadInput(f"{path}: holds no state dict, neither as a whole nor{keys}", SAVE_WEIGHTS)
    weights = {str(name): value for name, value in loaded.items() if name not in COUNTERS}
    for name, value in weights.items():
        if not value.is_floating_point() or value.is_meta or value.layout != torch.strided:
            kind = "meta" if value.is_meta else f"{value.layout} {value.dtype}".replace("torch.", "")
            raise BadInput(f"{path}: {one_line(name)!r} is {kind}; expected float weights, each number of them")
    return StateDict({name: value.detach().float().numpy() for name, value in weights.items()}, assumed)


def _unwrap(loaded: Any) -> tuple[Any, tuple[str, ...]]:
    """The state dict inside what training scripts keep around it, and a line where there are several."""
    assumed: tuple[str, ...] = ()
    for _ in WRAPPERS:  # a file may wrap twice, and a hostile one without end
        found = [key for key in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(key), dict)]
        if found:
            loaded = loaded[found[0]]
            assumed += tuple(f"the weights {found[0]!r}; the file also holds {other!r}" for other in found[1:])
    return loaded, assumed


def _load_pickle(path: Path) -> Any:
    """The file's object; torch refuses pickled code. Raises BadInput."""
    import torch

    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    with file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about kinds of tensors that _read_pickle refuses
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged or hostile archive raises any type
            raise _explain_failure(path, file, error) from None


def _explain_failure(path: Path, file: IO[bytes], error: Exception) -> BadInput:
    """Names the first class or function that torch does not load, without loading it."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        file.seek(0)
        unsafe = sorted(get_unsafe_globals_in_checkpoint(file))
    except Exception:  # as above
        unsafe = []
    if not unsafe:
        return BadInput(f"{path}: damaged, or more than weights only ({type(error).__name__})", SAVE_WEIGHTS)
    return BadInput(
        f"{path}: more than weights only: it holds {one_line(unsafe[0])}, and such a pickle can run code",
        "where you trust it, load it with weights_only=False and save its state_dict alone, with torch.save",
    )
