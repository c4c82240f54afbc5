"""common/atomic.py: a file or folder is complete or absent, and is on the disk when its writer returns."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.disk_calls import DiskCalls

from tencrop.common.atomic import atomic_folder, atomic_new_folder, atomic_path, write_atomic
from tencrop.common.errors import BadInput


def test_the_file_appears_at_the_end_and_replaces_an_older_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", "old")
    with atomic_path(tmp_path / "a.json") as partial:
        partial.write_text("new")
        assert (tmp_path / "a.json").read_text() == "old"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "new")]


def test_a_write_that_fails_halfway_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", b"old")
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "a.json") as partial:
        partial.write_text("ne") and tmp_path.write_text("fails")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "Ä")
    assert (tmp_path / "a").read_bytes() == b"\xc3\x84"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_entries_of_an_atomic_folder_move_in_together_and_replace_files_and_folders(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_bytes(content)
            (folder / "b").mkdir()
            (folder / "b" / content.decode()).write_bytes(content)
        (tmp_path / "out" / "mine").write_bytes(b"stays")
    assert contents(tmp_path) == {"out/a": b"new", "out/b/new": b"new", "out/mine": b"stays"}


def test_nothing_is_written_beside_the_folder(tmp_path: Path) -> None:
    """The folder may be a disk of its own, or the only one that may be written to."""
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_bytes(b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_atomic_folder_that_fails_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_bytes(b"new") and folder.write_bytes(b"fails")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_the_way", ["a", "b"])
def test_of_several_files_none_is_replaced_where_one_cannot_be(in_the_way: str, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        next(folder / name for name in "ab" if name != in_the_way).write_bytes(b"old")
    (tmp_path / "out" / in_the_way).mkdir()
    before = contents(tmp_path)
    with (
        pytest.raises(BadInput, match=f"out/{in_the_way}: a folder of this name stands in the way"),
        atomic_folder(tmp_path / "out") as folder,
    ):
        [(folder / name).write_bytes(b"new") for name in "ab"]
    assert contents(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_new_folder_appears_at_the_end_with_its_parents(tmp_path: Path) -> None:
    with atomic_new_folder(tmp_path / "runs" / "c") as folder:
        (folder / "a").write_bytes(b"new")
        assert not (tmp_path / "runs" / "c").exists()
    assert contents(tmp_path) == {"runs/c/a": b"new"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["c"]


def test_a_new_folder_never_replaces_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="c"), atomic_new_folder(tmp_path / "c") as folder:
        (folder / "a").write_bytes(b"new")
    assert contents(tmp_path) == {"c/a": b"old"} and [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_new_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_new_folder(tmp_path / "c") as folder:
        (folder / "a").write_bytes(b"new") and folder.write_bytes(b"fails")
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_starts_empty_after_an_interrupted_one(tmp_path: Path) -> None:
    (tmp_path / "c.partial").mkdir()
    (tmp_path / "c.partial" / "a").write_bytes(b"half a file")
    with atomic_new_folder(tmp_path / "c") as folder:
        assert list(folder.iterdir()) == []


def fill(folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    (folder / "b").mkdir()
    (folder / "b" / "c").write_bytes(b"2")


def by_path(root: Path) -> list[Path]:
    with atomic_path(root / "out") as partial:
        partial.write_bytes(b"1")
    return [root / "out"]


def by_content(root: Path) -> list[Path]:
    write_atomic(root / "out", b"1")
    return [root / "out"]


def by_folder(root: Path) -> list[Path]:
    with atomic_folder(root / "out") as folder:
        fill(folder)
    return [root / "out" / "a", root / "out" / "b" / "c"]


def by_new_folder(root: Path) -> list[Path]:
    with atomic_new_folder(root / "out") as folder:
        fill(folder)
    return [root / "out" / "a", root / "out" / "b" / "c"]


WRITERS = [by_path, by_content, by_folder, by_new_folder]


@pytest.mark.parametrize("write", WRITERS)
def test_every_writer_syncs_files_then_renames_then_syncs_the_folder(
    write: Callable[[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    for file in write(tmp_path):
        calls.check(file)


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_cannot_be_synced_does_not_appear(
    write: Callable[[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(opened: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_good_enough(
    number: int, write: Callable[[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(opened: int) -> None:
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    assert all(file.is_file() for file in write(tmp_path))
