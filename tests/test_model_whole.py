"""model/whole.py: a file is there whole or not at all."""

from pathlib import Path

import pytest

from model.whole import aside, write_all, write_whole


def test_the_file_appears_at_the_end_and_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "old")
    with aside(tmp_path / "a.json") as partial:
        partial.write_text("new")
        assert (tmp_path / "a.json").read_text() == "old"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "new")]


def test_what_fails_halfway_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", b"old")
    with pytest.raises(IsADirectoryError), aside(tmp_path / "a.json") as partial:
        partial.write_text("ne") and tmp_path.write_text("fails")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "Ä")
    assert (tmp_path / "a").read_bytes() == b"\xc3\x84"


def test_of_several_files_none_is_replaced_where_one_cannot_be_written(tmp_path: Path) -> None:
    write_all(tmp_path / "new", {"a": b"old", "b": b"old"})
    (tmp_path / "new" / "b.partial").mkdir()
    with pytest.raises(OSError):  # noqa: PT011  # whatever the system says of writing to a folder
        write_all(tmp_path / "new", {"a": b"new", "b": b"new"})
    assert [(tmp_path / "new" / name).read_bytes() for name in "ab"] == [b"old", b"old"]
    assert not (tmp_path / "new" / "a.partial").exists()
