"""Reads ILSVRC2012_devkit_t12.tar.gz: the classes (meta.mat) and the classes of the validation images."""

import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.model.contract import Label

META, TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
MAX_FILE = 16 << 20  # bytes of each; the true ones have less than one megabyte


@dataclass(frozen=True)
class Devkit:
    """Classes of ILSVRC-2012 and the ground truth of its validation images."""

    file: Path
    labels: tuple[Label, ...]
    truth: tuple[int, ...]  # index of the class of validation image 1, 2, ...


def read_devkit(file: Path) -> Devkit:
    """Read meta.mat and the ground truth, without unpacking the archive.

    A label is the position of its wnid among the sorted wnids. The ground truth counts in another order, that of
    ILSVRC2012_ID. To mix the two raises no error: it gives an accuracy of 0.1 %. Raises BadInput.
    """
    data = _read_archive(file)
    try:
        words, wnids = _read_leaves(data[META])
        numbers = [int(line) for line in data[TRUTH].split()]
    except (ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError, zlib.error) as error:
        raise BadInput(f"{file}: its meta.mat or ground truth cannot be read ({error})", "fetch it again") from None
    index = {wnid: label for label, wnid in enumerate(sorted(words))}
    unknown = [number for number in numbers if number not in wnids]
    if unknown:
        raise BadInput(
            f"{file}: the ground truth names class {unknown[0]}, which meta.mat does not have", "fetch it again"
        )
    labels = tuple(Label(wnid, words[wnid]) for wnid in index)
    return Devkit(file, labels, tuple(index[wnids[number]] for number in numbers))


def _read_archive(file: Path) -> dict[str, bytes]:
    """Read the two files into memory."""
    if not file.is_file():
        raise BadInput(f"{file}: missing", "it names the classes: put the devkit beside the image tars")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(file, "r:*") as tar:
            for info in tar:
                wanted = next((end for end in (META, TRUTH) if f"/{info.name}".endswith(f"/{end}")), None)
                opened = tar.extractfile(info) if wanted else None
                if wanted and info.size > MAX_FILE:
                    raise BadInput(f"{file}: {wanted} has {info.size} bytes", "fetch the devkit of tasks 1 and 2 again")
                if wanted and opened:
                    found[wanted] = opened.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{file}: cannot be read as a tar ({error})", "fetch it again") from None
    missing = [name for name in (META, TRUTH) if name not in found]
    if missing:
        raise BadInput(f"{file}: holds no {missing[0]}", "fetch the devkit of tasks 1 and 2 again")
    return found


def _read_leaves(meta: bytes) -> tuple[dict[str, str], dict[int, str]]:
    """Read ({wnid: words}, {ILSVRC2012_ID: wnid}) of the synsets without children. Only these label images."""
    from scipy.io import loadmat  # half a second, and no other layout needs it
    from scipy.io.matlab import MatReadError

    try:
        synsets: Any = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
    except MatReadError as error:
        raise ValueError(str(error)) from None
    leaves = [synset for synset in synsets if int(synset["num_children"]) == 0]
    words = {str(synset["WNID"]): str(synset["words"]) for synset in leaves}
    if not words:
        raise ValueError("no synset without children")
    return words, {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in leaves}
