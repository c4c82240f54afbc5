"""Reads the devkit of an ILSVRC challenge, packed or unpacked: the classes (meta.mat), and ground truth of images."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.account import Inventory
from tencrop.dataset.tar import iter_members
from tencrop.dataset.tar_opener import TarOpener
from tencrop.model.contract import Label

DATA, META, TRUTH = "data", "meta.mat", "_ground_truth.txt"
MAX_FILE = 16 << 20  # bytes of each; the true ones have less than two megabytes
MAX_META = 64 << 20  # bytes to which the arrays of meta.mat may inflate
COMPRESSED = 15  # the type of a compressed array in a MAT-file
MAT_HEADER = 128  # bytes


@dataclass(frozen=True)
class Devkit:
    """The classes of a challenge, and ground truth of its images."""

    file: Path  # the archive, or the folder
    labels: tuple[Label, ...]
    numbers: dict[int, int]  # index of the label, by the challenge's ID of the class
    truths: dict[str, bytes]  # files of ground truth, by name

    def read_truth(self, root: Path, name: str) -> tuple[int, ...]:
        """Read the label of image 1, 2, ... from a file of the challenge's IDs, which lies in `root` or in the devkit.

        Raises BadInput.
        """
        file, text = self.file / name, self.truths.get(name)
        if text is None:
            file, text = root / name, _read_file(root / name)
        try:
            ids = [int(line) for line in text.split()]
        except ValueError as error:
            raise BadInput(f"{file}: the ground truth cannot be read ({error})", "fetch it again") from None
        unknown = next((id for id in ids if id not in self.numbers), None)
        if unknown is not None:
            raise BadInput(f"{file}: names class {unknown}, which meta.mat does not have", "fetch it again")
        return tuple(self.numbers[id] for id in ids)


def find_devkit(root: Path, names: tuple[str, ...]) -> Path | None:
    """Find an archive or a folder of one of these names that is a devkit."""
    found = (root / name for name in names)
    return next((path for path in found if path.is_file() or (_find_data(path) / META).is_file()), None)


def read_devkit(file: Path, challenge: str) -> Devkit:
    """Read the devkit of a challenge such as ILSVRC2012. An archive is not unpacked.

    A label is the position of its wnid among the sorted wnids. Ground truth counts in another order, that of the
    challenge's IDs. To mix the two raises no error: it gives an accuracy of 0.1 %. Raises BadInput.
    """
    data = dict(_iter_archive(file) if file.is_file() else _iter_folder(file))
    if META not in data:
        raise BadInput(f"{file}: holds no {DATA}/{META}", "fetch the devkit of the classification task again")
    try:
        words, wnids = _read_leaves(data.pop(META), f"{challenge}_ID")
    except (ValueError, TypeError, LookupError, OSError, NotImplementedError, MemoryError, zlib.error) as error:
        raise BadInput(f"{file}: its {META} cannot be read ({one_line(error)})", "fetch it again") from None
    index = {wnid: label for label, wnid in enumerate(sorted(words))}
    labels = tuple(Label(wnid, words[wnid]) for wnid in index)
    return Devkit(file, labels, {number: index[wnid] for number, wnid in wnids.items()}, data)


def _iter_archive(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files in its folder data that are read."""
    opener = TarOpener()
    for member in iter_members(file, Inventory(), opener=opener):
        *_, folder, name = f"//{member.name}".split("/")
        if folder == DATA and (name == META or name.endswith(TRUTH)):
            _check_size(file / name, member.size)
            yield name, opener.read(file, member.start, member.size)


def _iter_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files beside meta.mat that are read."""
    for path in sorted(_find_data(folder).iterdir()):
        if path.name == META or path.name.endswith(TRUTH):
            yield path.name, _read_file(path)


def _find_data(folder: Path) -> Path:
    """Find the folder that may hold meta.mat."""
    return folder / DATA if (folder / DATA / META).is_file() else folder


def _read_file(path: Path) -> bytes:
    try:
        _check_size(path, path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})", "put it beside the images") from None


def _check_size(path: Path, size: int) -> None:
    if size > MAX_FILE:
        raise BadInput(f"{path}: has {size} bytes, the true one has fewer than {MAX_FILE}", "fetch the devkit again")


def _read_leaves(meta: bytes, id: str) -> tuple[dict[str, str], dict[int, str]]:
    """Read ({wnid: words}, {ID of the challenge: wnid}) of the synsets without children. Only these label images."""
    from scipy.io import loadmat  # half a second, and no other layout needs it
    from scipy.io.matlab import MatReadError

    _check_inflation(meta)
    try:
        synsets: Any = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True, variable_names="synsets")["synsets"])
    except MatReadError as error:
        raise ValueError(str(error)) from None
    leaves = [synset for synset in synsets if int(synset["num_children"]) == 0]
    words = {str(synset["WNID"]): str(synset["words"]) for synset in leaves}
    if not words:
        raise ValueError("no synset without children")
    return words, {int(synset[id]): str(synset["WNID"]) for synset in leaves}


def _check_inflation(meta: bytes) -> None:
    """Raise ValueError where the arrays of a MAT-file inflate to more than MAX_META bytes.

    Only an array of the type COMPRESSED is inflated; scipy would inflate any number of gigabytes.
    """
    place, left = MAT_HEADER, MAX_META
    order = ">" if meta[MAT_HEADER - 2 : MAT_HEADER] == b"MI" else "<"
    while place + 8 <= len(meta):
        kind, size = struct.unpack(f"{order}II", meta[place : place + 8])
        place += 8
        if kind == COMPRESSED:
            left -= len(zlib.decompressobj().decompress(meta[place : place + size], left + 1))
        if left < 0:
            raise ValueError(f"it inflates to more than {MAX_META} bytes")
        place += size
