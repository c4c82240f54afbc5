"""common/atomic.py: a file is there whole or not at all."""

from pathlib import Path

import pytest

from tencrop.common.atomic import atomic_folder, atomic_path, write_atomic
from tencrop.common.errors import BadInput


def test_the_file_appears_at_the_end_and_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", "old")
    with atomic_path(tmp_path / "a.json") as partial:
        partial.write_text("new")
        assert (tmp_path / "a.json").read_text() == "old"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "new")]


def test_what_fails_halfway_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", b"old")
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "a.json") as partial:
        partial.write_text("ne") and tmp_path.write_text("fails")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "Ä")
    assert (tmp_path / "a").read_bytes() == b"\xc3\x84"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_gathered_moves_in_together_and_replaces_files_and_folders(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "a").write_bytes(content)
            (folder / "b").mkdir()
            (folder / "b" / content.decode()).write_bytes(content)
        (tmp_path / "out" / "mine").write_bytes(b"stays")
    assert contents(tmp_path) == {"out/a": b"new", "out/b/new": b"new", "out/mine": b"stays"}


def test_nothing_is_written_beside_the_folder(tmp_path: Path) -> None:
    """It may be a disk of its own, or the only folder that may be written to."""
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_bytes(b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_fails_while_it_is_gathered_changes_nothing(tmp_path: Path) -> None:
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
        pytest.raises(BadInput, match=f"out/{in_the_way}: stands in the way"),
        atomic_folder(tmp_path / "out") as folder,
    ):
        [(folder / name).write_bytes(b"new") for name in "ab"]
    assert contents(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["out"]
