"""dataset/tar_opener.py: compressed tars are read at any position; their copies take little room, for a short time."""

import gzip
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from archives import jpeg, read_by_threads, tar

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset import tar_opener
from tencrop.dataset.layouts import open_source
from tencrop.dataset.tar_opener import KEPT, TarOpener


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.zst": zstd}


def shard(first: int, count: int) -> bytes:
    files: dict[str, bytes] = {}
    for n in range(first, first + count):
        files |= {f"{n}.jpg": jpeg(n), f"{n}.cls": b"%d" % (n % 2)}
    return tar(files)


def write(root: Path, suffix: str) -> Path:
    """Three tars for training and one for validation."""
    for name, first in (("train-0", 0), ("train-1", 5), ("train-2", 10), ("val-0", 15)):
        (root / f"{name}{suffix}").write_bytes(PACK[suffix](shard(first, 5)))
    (root / "classes.txt").write_text("ant\nbee\n")
    return root


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_tars_are_read_like_plain_ones(tmp_path: Path, scratch: Path, suffix: str) -> None:
    source = open_source(write(tmp_path, suffix))
    names = ("train-0", "train-1", "train-2", "val-0")
    expected = {f"{names[n // 5]}{suffix}/{n}.jpg": (n % 2, n >= 15, jpeg(n)) for n in range(20)}
    assert read_by_threads(source) == expected
    assert read_by_threads(pickle.loads(pickle.dumps(source))) == expected  # as another process of a cluster reads it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.txt", *(name + suffix for name in names)]
    assert not list(scratch.iterdir())


def test_a_compressed_tar_beside_its_plain_form_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ".tar.gz")
    (tmp_path / "train-1.tar").write_bytes(shard(5, 5))
    source = open_source(tmp_path)
    assert len(source.entries) == 20 and source.inventory.groups["passed_over"].names == {".gz": 1}


def test_compressed_tars_beside_class_folders_or_a_devkit_make_no_webdataset(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "pictures.tgz").write_bytes(b"what was downloaded")
    assert [entry.id for entry in open_source(tmp_path).entries] == ["ant/1.jpg", "bee/1.jpg"]


def test_few_copies_are_open_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, ".tgz")
    opener = TarOpener()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for file in sorted(tmp_path.glob("*.tgz")):
            assert opener.read(file, 0, 5) in (b"0.jpg", b"5.jpg", b"10.jp", b"15.jp")
    assert len(os.listdir("/proc/self/fd")) == before + KEPT
    del opener
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_files_that_were_joined_are_one_tar(tmp_path: Path, suffix: str) -> None:
    """As pigz, bgzip and pzstd write them."""
    whole, file = shard(0, 3), tmp_path / f"x{suffix}"
    file.write_bytes(PACK[suffix](whole[:700]) + PACK[suffix](whole[700:]))
    assert TarOpener().read(file, 0, len(whole)) == whole


@pytest.mark.parametrize("suffix", PACK)
def test_a_tar_that_a_browser_has_decompressed_is_read(tmp_path: Path, suffix: str) -> None:
    whole, file = shard(0, 3), tmp_path / f"x{suffix}"
    file.write_bytes(whole)
    assert TarOpener().read(file, 0, len(whole)) == whole


@pytest.mark.parametrize("suffix", PACK)
def test_a_damaged_file_is_bad_input(tmp_path: Path, suffix: str) -> None:
    packed, file = PACK[suffix](shard(0, 3)), tmp_path / f"x{suffix}"
    for content in (packed[:-1], packed[: len(packed) // 2], packed + b"more"):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=r"x\..*: not a whole (gzip|zstd) file \(.+\); fetch it again"):
            TarOpener().open(file)
    file.write_bytes(b"")
    (tmp_path / "classes.txt").write_text("ant\n")
    with pytest.raises(BadInput, match="not a whole, uncompressed tar"):
        open_source(tmp_path)


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_is_bad_input(tmp_path: Path, scratch: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_opener, "ALWAYS", 3 << 20)
    file = tmp_path / f"x{suffix}"
    file.write_bytes(PACK[suffix](bytes(3 << 20)))
    TarOpener().open(file).close()
    file.write_bytes(PACK[suffix](bytes(10 << 20)))
    with pytest.raises(BadInput, match="inflates to more than 3145728 bytes; unpack it if that is right"):
        TarOpener().open(file)


def test_a_full_disk_fails_the_run_and_frees_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ".tgz")
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "wb"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(WorkFailed, match=r"no room for its decompressed copy \(No space left on device\); set TMPDIR"):
        open_source(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tar_that_has_vanished_is_named(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, ".tgz"))
    files = sorted(tmp_path.glob("*.tgz"))
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match=files[0].name):
        source.read(source.entries[0])
