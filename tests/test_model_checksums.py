"""model/checksums.py: SHA256SUMS lists what sha256sum lists, and a file with another sum is named."""

import hashlib
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.model.checksums import SUMS, check_sums, hash_file, write_sums

NAMES = ("a.bin", "b.bin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    write_sums(tmp_path, (*NAMES, "c.bin"))
    return tmp_path


def test_the_lines_are_those_of_sha256sum(folder: Path) -> None:
    lines = [f"{hashlib.sha256(name.encode() * 1000).hexdigest()}  {name}\n" for name in NAMES]
    assert (folder / SUMS).read_text() == "".join(lines)
    assert hash_file(folder / "a.bin") == lines[0].split()[0]


def test_files_that_are_as_they_were_written_pass(folder: Path) -> None:
    check_sums(folder, NAMES)


def test_a_file_that_is_missing_is_not_judged(folder: Path) -> None:
    (folder / "b.bin").unlink()
    check_sums(folder, NAMES)


def test_a_folder_without_sums_passes(folder: Path) -> None:
    (folder / SUMS).unlink()
    (folder / "a.bin").write_bytes(b"")
    check_sums(folder, NAMES)


def test_a_changed_file_is_named(folder: Path) -> None:
    (folder / "b.bin").write_bytes(b"b")
    with pytest.raises(BadInput, match=r"^b\.bin: its sha256 is not the one in SHA256SUMS$"):
        check_sums(folder, NAMES)


def test_a_file_that_is_not_listed_is_named(folder: Path) -> None:
    (folder / "c.bin").write_bytes(b"c")
    with pytest.raises(BadInput, match=r"^c\.bin: its sha256"):
        check_sums(folder, (*NAMES, "c.bin"))


def test_swapped_files_are_refused(folder: Path) -> None:
    (folder / "a.bin").rename(folder / "x")
    (folder / "b.bin").rename(folder / "a.bin")
    (folder / "x").rename(folder / "b.bin")
    with pytest.raises(BadInput, match=r"^a\.bin: "):
        check_sums(folder, NAMES)
