"""Checkpoint: one folder with weights.safetensors and checkpoint.json (recipe, contract, progress); never pickle."""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tencrop.common.atomic import atomic_new_folder
from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.checksums import check_sums, hash_file, write_sums
from tencrop.model.contract import Contract
from tencrop.model.layer_table import Shape, layer_table, parameter_shapes
from tencrop.model.mean_and_pca import PixelStatistics, statistics_shapes
from tencrop.model.net_config import NetConfig
from tencrop.model.run_progress import RunProgress

WEIGHTS = "weights.safetensors"  # parameters under "net.", mean and PCA under "statistics."
DOCUMENT = "checkpoint.json"
TRAINING = "training.safetensors"  # momentum and random state; only where a run can be resumed
TENSOR_FILES = (WEIGHTS, TRAINING)  # those that SHA256SUMS lists
FLOATS = (np.float16, np.float32)  # types of weights


class DamagedCheckpoint(BadInput):
    """A folder is no whole checkpoint: a file is missing, cut or edited, or its parts do not fit each other."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained net with everything that its use takes.

    weights: parameters by the names of model/net.py, fp32 or fp16; recipe: as resolved, plain data with the keys
    `net` and `mean`; training: arrays that resume a run; progress: a RunProgress as plain data.
    """

    recipe: Mapping[str, Any]
    contract: Contract
    statistics: PixelStatistics
    weights: Mapping[str, np.ndarray]
    progress: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def net(self) -> NetConfig:
        """The net's numbers."""
        return parse(NetConfig, self.recipe["net"], f"{DOCUMENT}: recipe.net")

    @property
    def mean(self) -> np.ndarray:
        """The mean to subtract from the pixels: float32 [3,R,R] (aligned) or [3,crop,crop] (center)."""
        return self.statistics.mean_to_subtract(self.recipe["mean"], self.contract.crop)

    @property
    def run_progress(self) -> RunProgress:
        """The progress, parsed."""
        return parse(RunProgress, self.progress, f"{DOCUMENT}: progress")

    def save(self, folder: Path) -> None:
        """Write the checkpoint as a new folder, which is there whole or not at all.

        Raises OSError where the disk is full, or where `folder` already holds a checkpoint.
        """
        with atomic_new_folder(folder) as partial:
            try:
                self._write(partial)
            except SafetensorError as error:  # what safetensors raises for a full disk
                raise OSError(errno.EIO, str(error), str(folder)) from None

    def _write(self, folder: Path) -> None:
        tensors = {f"net.{k}": v for k, v in self.weights.items()}
        tensors |= {f"statistics.{k}": v for k, v in self.statistics.to_tensors().items()}
        save_file(_make_contiguous(tensors), folder / WEIGHTS)
        if self.training:
            save_file(_make_contiguous(self.training), folder / TRAINING)
        write_sums(folder, TENSOR_FILES)
        document = {"recipe": self.recipe, "contract": dump(self.contract), "progress": self.progress}
        (folder / DOCUMENT).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def check(self, source: Path) -> None:
        """Check that all parts fit each other and that all tensors are finite.

        Raises DamagedCheckpoint with the first fault, BadInput for a net or a progress that is none. `source` names the
        checkpoint in the message.
        """
        if fault := next(self._find_faults(), None):
            raise DamagedCheckpoint(f"{source}: damaged checkpoint: {fault}")

    def _find_faults(self) -> Iterator[str]:
        """Yield faults. Those behind the first one may be its consequences, or raise errors."""
        net, contract, _ = self.net, self.contract, self.run_progress
        tensors = {**self.weights, **{f"statistics.{k}": v for k, v in self.statistics.to_tensors().items()}}
        shapes = parameter_shapes(net) | {f"statistics.{k}": v for k, v in statistics_shapes(contract.resize).items()}
        yield from find_misfits(tensors, shapes, FLOATS)
        if net.input != contract.crop:
            yield f"its net sees {net.input} pixels, and its contract crops {contract.crop}"
        outputs, classes = layer_table(net)[-1].out_shape, (len(contract.labels),)
        if outputs != classes:
            yield f"it has {classes[0]} labels for {outputs[0]} outputs"
        for name in find_not_finite({**tensors, **self.training}):
            yield f"{name} is not finite"

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint and check it. Raises DamagedCheckpoint where it is none, or not as it was written."""
        if not (folder / DOCUMENT).is_file():
            raise DamagedCheckpoint(
                f"{folder}: no checkpoint here ({DOCUMENT} is missing)", "name a checkpoint-* folder of a run"
            )
        try:
            check_sums(folder, TENSOR_FILES)
            saved = cls._read(folder)
            saved.check(folder)
        except DamagedCheckpoint:
            raise
        except BadInput as error:
            raise DamagedCheckpoint(f"{folder}: damaged checkpoint: {error}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise DamagedCheckpoint(
                f"{folder}: damaged checkpoint ({error!r}, of its recipe, contract, statistics or weights)"
            ) from None
        return saved

    @classmethod
    def _read(cls, folder: Path) -> "Checkpoint":
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        if odd := [name for name in tensors if not name.startswith(("net.", "statistics."))]:
            raise BadInput(f"{odd[0]} belongs to no layer of its net")
        saved = cls(
            recipe=document["recipe"],
            contract=parse(Contract, document["contract"], f"{DOCUMENT}: contract"),
            statistics=PixelStatistics(**_take_prefixed(tensors, "statistics.")),
            weights=_take_prefixed(tensors, "net."),
            progress=document["progress"],
            training=load_file(folder / TRAINING) if (folder / TRAINING).exists() else {},
        )
        if saved.recipe["mean"] not in ("aligned", "center"):
            raise BadInput(f"{DOCUMENT}: recipe.mean is {saved.recipe['mean']!r}")
        return saved


def find_misfits(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], dtypes: Sequence[type]
) -> Iterator[str]:
    """Describe the tensors that are missing, unknown, or of another shape or type than these."""
    for name in sorted(shapes.keys() ^ tensors.keys()):
        yield f"{name} is missing" if name in shapes else f"{name} belongs to no layer of its net"
    for name, shape in shapes.items():
        found, dtype = tensors[name].shape, tensors[name].dtype
        if found != shape or dtype not in dtypes:
            wanted = " or ".join(np.dtype(each).name for each in dtypes)
            yield f"{name} is {dtype} {list(found)}, not {wanted} {list(shape)}"


def find_not_finite(tensors: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield the names of floating tensors that hold a NaN or an infinite number."""
    return (name for name, value in tensors.items() if value.dtype.kind == "f" and not np.isfinite(value).all())


def hash_weights(folder: Path) -> str:
    """The sha256 of a checkpoint's weights file, which identifies the checkpoint."""
    return hash_file(folder / WEIGHTS)


def _take_prefixed(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _make_contiguous(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}
