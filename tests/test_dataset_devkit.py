"""dataset/devkit.py: reads meta.mat and the ground truth into labels that count the sorted wnids."""

import gzip
import struct
import tarfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from archives import SORTED, SYNSETS, TRUE_LABELS, WORDS, devkit, tar

from tencrop.common.errors import BadInput
from tencrop.dataset import devkit as devkit_module
from tencrop.dataset.devkit import MAX_FILE, find_devkit, read_devkit
from tencrop.model.contract import Label

NAME, TRUTH = "ILSVRC2012", "ILSVRC2012_validation_ground_truth.txt"


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "devkit.tar.gz").write_bytes(content)
    return tmp_path / "devkit.tar.gz"


def test_leaves_are_labels_by_wnid_and_the_ground_truth_is_translated(tmp_path: Path) -> None:
    read = read_devkit(write(tmp_path, devkit()), NAME)
    assert read.labels == tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))
    assert read.read_truth(tmp_path, TRUTH) == TRUE_LABELS


def test_one_synset_alone_is_read(tmp_path: Path) -> None:
    assert read_devkit(write(tmp_path, devkit(SYNSETS[:1], (1, 1))), NAME).read_truth(tmp_path, TRUTH) == (0, 0)


def test_a_devkit_that_a_browser_has_unzipped_is_read(tmp_path: Path) -> None:
    assert read_devkit(write(tmp_path, gzip.decompress(devkit())), NAME).read_truth(tmp_path, TRUTH) == TRUE_LABELS


def test_a_devkit_that_is_cut_short_is_bad_input_naming_the_file(tmp_path: Path) -> None:
    whole = devkit()
    for size in range(0, len(whole) * 9 // 10, 13):  # behind that come only the zeros that end a tar
        file = write(tmp_path, whole[:size])
        with pytest.raises(BadInput, match=f"^{file}: "):
            read_devkit(file, NAME)


def test_an_unpacked_devkit_is_found_and_read_as_the_packed_one(tmp_path: Path) -> None:
    packed = read_devkit(write(tmp_path, devkit()), NAME)
    with tarfile.open(tmp_path / "devkit.tar.gz") as opened:
        opened.extractall(tmp_path, filter="data")
    for folder in (tmp_path / "ILSVRC2012_devkit_t12", tmp_path / "ILSVRC2012_devkit_t12" / "data"):
        assert find_devkit(folder.parent, ("nothing", folder.name)) == folder
        read = read_devkit(folder, NAME)
        assert read.labels == packed.labels
        assert read.read_truth(tmp_path, TRUTH) == packed.read_truth(tmp_path, TRUTH) == TRUE_LABELS
    assert find_devkit(tmp_path, ("nothing", ".")) is None


def test_ground_truth_may_lie_beside_the_devkit(tmp_path: Path) -> None:
    read = read_devkit(write(tmp_path, devkit()), NAME)
    (tmp_path / "other_ground_truth.txt").write_text("3\n1\n")
    assert read.read_truth(tmp_path, "other_ground_truth.txt") == (2, 1)
    with pytest.raises(BadInput, match=r"missing_ground_truth.txt: cannot be read \(No such file.*put it beside"):
        read.read_truth(tmp_path, "missing_ground_truth.txt")


def test_the_devkit_of_another_year_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"its meta.mat cannot be read \(.*ILSVRC2010_ID"):
        read_devkit(write(tmp_path, devkit()), "ILSVRC2010")


def pack(meta: bytes, **options: Any) -> bytes:
    """A devkit with this meta.mat."""
    return tar({"kit/data/meta.mat": meta}, mode="w:gz", **options)


def inflating_meta(order: str) -> bytes:
    """A MAT-file of 32 kB with an array that inflates to 32 MiB."""
    array = zlib.compress(struct.pack(f"{order}II", 14, 32 << 20) + bytes(32 << 20))
    mark = b"IM" if order == "<" else b"MI"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + mark
    return header + struct.pack(f"{order}II", 15, len(array)) + array


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_meta_mat_that_inflates_without_end_is_bad_input(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devkit_module, "MAX_META", 8 << 20)
    file = write(tmp_path, pack(inflating_meta(order)))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=r"its meta.mat cannot be read \(it inflates to more than 8388608 bytes\)"):
            read_devkit(file, NAME)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_a_long_header_and_a_large_file_in_a_devkit_are_not_read(tmp_path: Path) -> None:
    """tarfile reads a long name whole, and 8 MB of one letter are 8 kB in the archive."""
    long = tar({"x" * (8 << 20): b""}, tarfile.GNU_FORMAT, mode="w:gz")
    large = pack(bytes(MAX_FILE + 1))
    for content, message in ((long, "a header of 8389120 bytes"), (large, "meta.mat: has 16777217 bytes")):
        assert len(content) < 20_000
        with pytest.raises(BadInput, match=message):
            read_devkit(write(tmp_path, content), NAME)
