"""Checkpoint: one folder with weights.safetensors and checkpoint.json (recipe, contract, progress); never pickle."""

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tencrop.common.atomic import atomic_new_folder
from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.contract import Contract
from tencrop.model.layer_table import layer_table, parameter_shapes
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net_config import NetConfig

WEIGHTS = "weights.safetensors"  # parameters under "net.", mean and PCA under "statistics."
DOCUMENT = "checkpoint.json"
TRAINING = "training.safetensors"  # momentum and random state; only where a run can be resumed


@dataclass(frozen=True)
class Checkpoint:
    """A trained net with everything that its use takes.

    weights: parameters by the names of model/net.py, fp32 or fp16; recipe: as resolved, plain data with the keys
    `net` and `mean`; training: arrays that resume a run; progress: epoch and history, plain data.
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
        document = {"recipe": self.recipe, "contract": dump(self.contract), "progress": self.progress}
        (folder / DOCUMENT).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def check(self, source: Path) -> None:
        """Check that weights and net, net and contract, labels and outputs fit each other.

        Raises BadInput with the first part that does not fit; `source` names the checkpoint in the message.
        """
        self._check_weights(source)
        net, side, classes = self.net, self.contract.resize, len(self.contract.labels)
        if self.statistics.mean.shape != (3, side, side) or net.input != self.contract.crop:
            mean, wanted = list(self.statistics.mean.shape), f"{side}, {self.contract.crop}"
            raise BadInput(
                f"{source}: a mean of {mean} and a net of {net.input} pixels do not fit its contract ({wanted})"
            )
        outputs = layer_table(net)[-1].out_shape
        if outputs != (classes,):
            raise BadInput(f"{source}: has {classes} labels for {outputs[0]} outputs")

    def _check_weights(self, source: Path) -> None:
        wanted = parameter_shapes(self.net)
        if odd := sorted(wanted.keys() ^ self.weights.keys()):
            why = "is missing" if odd[0] in wanted else "is none of its net"
            raise BadInput(f"{source}: damaged checkpoint: {odd[0]} {why}")
        for name, shape in wanted.items():
            value = self.weights[name]
            if value.shape != shape or value.dtype.kind != "f":
                found = f"{value.dtype} {list(value.shape)}"
                raise BadInput(f"{source}: damaged checkpoint: {name} is {found}, and its net has float {list(shape)}")

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint. Raises BadInput where the folder is no checkpoint or one of its files is damaged."""
        if not (folder / DOCUMENT).is_file():
            raise BadInput(
                f"{folder}: no checkpoint here ({DOCUMENT} is missing)", "name a checkpoint-* folder of a run"
            )
        try:
            return cls._read(folder)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BadInput(
                f"{folder}: damaged checkpoint ({error!r}, of its recipe, contract, statistics or weights)"
            ) from None

    @classmethod
    def _read(cls, folder: Path) -> "Checkpoint":
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        saved = cls(
            recipe=document["recipe"],
            contract=parse(Contract, document["contract"], f"{folder / DOCUMENT}: contract"),
            statistics=PixelStatistics(**_take_prefixed(tensors, "statistics.")),
            weights=_take_prefixed(tensors, "net."),
            progress=document["progress"],
            training=load_file(folder / TRAINING) if (folder / TRAINING).is_file() else {},
        )
        if saved.recipe["mean"] not in ("aligned", "center"):
            raise ValueError(f"recipe.mean is {saved.recipe['mean']!r}")
        if not isinstance(saved.progress, dict):
            raise ValueError("progress is no table")
        parse(NetConfig, saved.recipe["net"], f"{folder / DOCUMENT}: recipe.net")
        return saved


def hash_weights(folder: Path) -> str:
    """The sha256 of a checkpoint's weights file, which identifies the checkpoint."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take_prefixed(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _make_contiguous(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}
