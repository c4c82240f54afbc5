"""Ways to damage a checkpoint folder: its files, its tensors, the fields of its document."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tencrop.model.checkpoint import DOCUMENT, TENSOR_FILES, TRAINING, WEIGHTS
from tencrop.model.checksums import SUMS, write_sums

Damage = Callable[[Path], object]  # of a checkpoint folder
Field = tuple[str | int, ...]  # keys from the top of checkpoint.json, as ("progress", "history", 0, "lr")
Tensors = dict[str, np.ndarray]


# ---- files


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_bit(file: Path) -> None:
    """Flip a bit of the last number. The file still parses."""
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def put_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def damage_file(name: str, damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder / name)


def remove_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def put_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


FILE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": truncate,
    "rubbish": lambda file: file.write_bytes(b"\xff\xfe" * 500),
    "a folder": put_folder,
}
OF_FILES: dict[str, Damage] = {
    "all files missing": remove_all,
    "a file in its place": put_file,
    **{
        f"{name} {kind}": partial(damage_file, name, damage)
        for name in (DOCUMENT, WEIGHTS, TRAINING, SUMS)
        for kind, damage in FILE_DAMAGES.items()
        if (name, kind) != (SUMS, "missing")  # as in a checkpoint of 0.1
    },
    **{f"{name} with another bit": partial(damage_file, name, flip_bit) for name in TENSOR_FILES},
}


# ---- tensors


def edit_tensors(file: str, edit: Callable[[Tensors], object], folder: Path) -> None:
    """Change a tensor file and its sum, as somebody does who means it."""
    tensors = load_file(folder / file)
    edit(tensors)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / file)
    write_sums(folder, TENSOR_FILES)


def spoil(value: np.ndarray, number: float) -> np.ndarray:
    spoiled = value.copy()
    spoiled.flat[1] = number
    return spoiled


def rename(tensors: Tensors, old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


def remove(tensors: Tensors, name: str) -> None:
    del tensors[name]


def add(tensors: Tensors, name: str) -> None:
    tensors[name] = np.zeros(3, np.float32)


def change(tensors: Tensors, name: str, to: Callable[[np.ndarray], np.ndarray]) -> None:
    tensors[name] = to(tensors[name])


TENSORS = {  # some of each kind, and the name of one that no net has
    WEIGHTS: (
        "net.conv1.weight",
        "net.fc8.bias",
        "statistics.mean",
        "statistics.colour_std",
        "statistics.colour_vectors",
    ),
    TRAINING: ("velocity.conv1.weight", "velocity.fc8.bias"),
}
UNKNOWN = {WEIGHTS: ("net.fc9.bias", "statistics.extra", "extra"), TRAINING: ("velocity.fc9.bias", "extra")}
TENSOR_DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in another shape": lambda value: value[None],
    "shorter": lambda value: value[:-1],
    "float64": lambda value: value.astype(np.float64),
    "whole numbers": lambda value: value.astype(np.int32),
    "NaN": lambda value: spoil(value, np.nan),
    "infinite": lambda value: spoil(value, -np.inf),
}
OF_TENSORS: dict[str, Damage] = {
    **{
        f"{name} {kind}": partial(edit_tensors, file, partial(change, name=name, to=damage))
        for file, names in TENSORS.items()
        for name in names
        for kind, damage in TENSOR_DAMAGES.items()
    },
    **{
        f"{name} missing": partial(edit_tensors, file, partial(remove, name=name))
        for file, names in TENSORS.items()
        for name in names
    },
    **{
        f"{names[0]} renamed {unknown}": partial(edit_tensors, file, partial(rename, old=names[0], new=unknown))
        for file, names in TENSORS.items()
        for unknown in UNKNOWN[file]
    },
    **{
        f"{unknown} too many": partial(edit_tensors, file, partial(add, name=unknown))
        for file, names in UNKNOWN.items()
        for unknown in names
    },
}


# ---- the document


def edit_document(folder: Path, edit: Callable[[Any], object]) -> None:
    document = json.loads((folder / DOCUMENT).read_text())
    edit(document)
    (folder / DOCUMENT).write_text(json.dumps(document))


def set_field(path: Field, value: object, document: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def drop_field(path: Field, document: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


def list_fields(document: Any, path: Field = ()) -> Iterator[tuple[Field, Any]]:
    """Yield every field of a document with its value, tables and lists included."""
    for key in document if isinstance(document, dict) else range(len(document)):
        value = document[key]
        yield (*path, key), value
        if isinstance(value, dict | list):
            yield from list_fields(value, (*path, key))
