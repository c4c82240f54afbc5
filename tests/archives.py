"""Writes small data sets in the layouts of their publishers, for the tests of dataset/."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tencrop.dataset.source import Source
from tencrop.images.errors import ImageError

SYNSETS = (  # ILSVRC2012_ID, WNID, words, number of children: the IDs do not follow the wnids, as in the true devkit
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n01440764", "tench, Tinca tinca", 0),
    (3, "n03000684", "chain saw, chainsaw", 0),
    (4, "n00001930", "physical entity", 3),
)
SORTED = ("n01440764", "n02119789", "n03000684")  # label 0, 1, 2
WORDS = ("tench, Tinca tinca", "kit fox, Vulpes macrotis", "chain saw, chainsaw")
TRUTH = (2, 1, 3, 2, 3)  # ILSVRC2012_IDs of the validation images 1 to 5
TRUE_LABELS = (0, 1, 2, 0, 2)  # the same as labels


def jpeg(number: int) -> bytes:
    """A small JPEG that no other number gives."""
    packed = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), number * 37 % 251, np.uint8)).save(packed, "JPEG", comment=str(number))
    return packed.getvalue()


def tar(
    files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], format: int = tarfile.GNU_FORMAT, mode: str = "w"
) -> bytes:
    """A tar of these files in this order; a name that ends in / is a folder."""
    packed = io.BytesIO()
    options: Any = {"mode": mode, "format": format, "errors": "surrogateescape"}
    with tarfile.open(fileobj=packed, **options) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.size = (tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE), len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def meta_mat(synsets: Sequence[tuple[int, str, str, int]] = SYNSETS, challenge: str = "ILSVRC2012") -> bytes:
    """meta.mat: a struct array `synsets` [n,1] with the fields of the devkit's readme."""
    names = (
        f"{challenge}_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    table = np.zeros((len(synsets), 1), [(name, object) for name in names])
    for row, (number, wnid, words, children) in zip(table[:, 0], synsets, strict=True):
        row[f"{challenge}_ID"], row["WNID"], row["words"], row["gloss"] = (
            float(number),
            wnid,
            words,
            f"the gloss of {words}",
        )
        row["num_children"], row["children"] = float(children), np.arange(1.0, children + 1)
        row["wordnet_height"], row["num_train_images"] = float(children > 0), 0.0 if children else 3.0
    packed = io.BytesIO()
    savemat(packed, {"synsets": table, "cost_matrix": np.zeros((3, 3), np.uint8)}, do_compression=True)
    return packed.getvalue()


def devkit(synsets: Sequence[tuple[int, str, str, int]] = SYNSETS, truth: Sequence[int] = TRUTH) -> bytes:
    """ILSVRC2012_devkit_t12.tar.gz."""
    top = "ILSVRC2012_devkit_t12"
    lines = "".join(f"{number}\n" for number in truth).encode()
    files = {
        f"{top}/": b"",
        f"{top}/readme.txt": b"read me",
        f"{top}/data/": b"",
        f"{top}/data/meta.mat": meta_mat(synsets),
        f"{top}/data/ILSVRC2012_validation_ground_truth.txt": lines,
    }
    return tar(files, mode="w:gz")


def devkit_2010(truth: Sequence[int] = TRUTH) -> bytes:
    """ILSVRC2010_devkit-1.0.tar.gz."""
    lines = "".join(f"{number}\n" for number in truth).encode()
    files = {
        "devkit-1.0/": b"",
        "devkit-1.0/readme.txt": b"read me",
        "devkit-1.0/data/": b"",
        "devkit-1.0/data/meta.mat": meta_mat(challenge="ILSVRC2010"),
        "devkit-1.0/data/ILSVRC2010_validation_ground_truth.txt": lines,
    }
    return tar(files, mode="w:gz")


def training_images(each: int = 4) -> dict[str, dict[str, bytes]]:
    """{wnid: {name: JPEG}} of all classes, in the devkit's order."""
    leaves = [wnid for _, wnid, _, children in SYNSETS if not children]
    return {wnid: {f"{wnid}_{n}.JPEG": jpeg(100 * place + n) for n in range(each)} for place, wnid in enumerate(leaves)}


def validation_images(name: str = "ILSVRC2012_val") -> dict[str, bytes]:
    """{name: JPEG}, not in the order of the numbers."""
    return {f"{name}_{number:08d}.JPEG": jpeg(1000 * len(name) + number) for number in (3, 1, 5, 2, 4)}


def ilsvrc(root: Path, each: int = 4) -> Path:
    """The three files as downloaded."""
    root.mkdir(parents=True, exist_ok=True)
    tars = {f"{wnid}.tar": tar(images) for wnid, images in training_images(each).items()}
    (root / "ILSVRC2012_img_train.tar").write_bytes(tar(tars))
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar(validation_images()))
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit())
    return root


def ilsvrc_2010(root: Path) -> Path:
    """The five files as downloaded. The ground truth of the test images is that of the others from its end."""
    root.mkdir(parents=True, exist_ok=True)
    tars = {f"{wnid}.tar": tar(images) for wnid, images in training_images().items()}
    (root / "ILSVRC2010_images_train.tar").write_bytes(tar(tars))
    for part in ("val", "test"):
        (root / f"ILSVRC2010_images_{part}.tar").write_bytes(tar(validation_images(f"ILSVRC2010_{part}")))
    (root / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(devkit_2010())
    lines = "".join(f"{number}\n" for number in reversed(TRUTH))
    (root / "ILSVRC2010_test_ground_truth.txt").write_text(lines)
    return root


def read_by_threads(source: Source) -> dict[str, tuple[int, bool | None, bytes]]:
    """{id: (label, validation, bytes)}, every image read four times by eight threads in no order."""
    entries = list(source.entries) * 4
    order = np.random.default_rng(0).permutation(len(entries))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(source.read, [entries[i] for i in order]))
    found: dict[str, tuple[int, bool | None, bytes]] = {}
    for i, content in zip(order, contents, strict=True):
        entry = entries[i]
        assert found.setdefault(entry.id, (entry.label, entry.validation, content)) == (
            entry.label,
            entry.validation,
            content,
        )
    return found


def read_all(source: Source, lost: type[ImageError]) -> list[bytes | None]:
    """Read every image in order; None for one that raises the error `lost`."""
    found: list[bytes | None] = []
    for entry in source.entries:
        try:
            found.append(source.read(entry))
        except lost:
            found.append(None)
    return found
