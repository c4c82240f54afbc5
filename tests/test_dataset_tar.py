"""dataset/tar.py: finds files in a tar and in inner tars; a truncated tar is never read as a shorter one."""

import os
import tarfile
from pathlib import Path

import pytest
from archives import tar

from tencrop.common.errors import BadInput
from tencrop.dataset.account import PASSED_OVER, Inventory
from tencrop.dataset.byte_range import read_at
from tencrop.dataset.tar import Member, iter_members

FILES = {f"{n}.jpg": bytes([n]) * (700 * n + 1) for n in range(5)}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_give_the_position_of_their_bytes(tmp_path: Path, format: int) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(tar({"x.tar": tar(FILES, format), "y.tar": tar(FILES, format)}, format))
    for inner in iter_members(file, Inventory()):
        assert {m.name: read_at(file, m.start, m.size) for m in iter_members(file, Inventory(), inner)} == FILES


def test_every_cut_is_bad_input(tmp_path: Path) -> None:
    """Wherever a download stopped, at a border of files as well; only the zeros behind the end mark may be missing."""
    whole, file = tar(FILES), tmp_path / "a.tar"
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for size in (*range(0, end, 512), *range(100, end, 977)):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"a\.tar: not a whole, uncompressed tar \(.+\); fetch it again"):
            list(iter_members(file, Inventory()))
    file.write_bytes(whole[: end + 512])
    assert len(list(iter_members(file, Inventory()))) == 5


def test_a_damaged_header_is_bad_input(tmp_path: Path) -> None:
    whole, file = bytearray(tar(FILES)), tmp_path / "a.tar"
    whole[whole.index(b"2.jpg") + 3] ^= 1
    file.write_bytes(whole)
    with pytest.raises(BadInput, match=r"a\.tar: not a whole"):
        list(iter_members(file, Inventory()))


def test_an_inner_tar_that_is_cut_does_not_run_into_the_next(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(tar({"x.tar": tar(FILES)[:2048], "y.tar": tar(FILES)}))
    cut, whole = iter_members(file, Inventory())
    with pytest.raises(BadInput, match=r"a\.tar: x\.tar: not a whole"):
        list(iter_members(file, Inventory(), cut))
    assert len(list(iter_members(file, Inventory(), whole))) == 5


def test_listing_reads_headers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(tar({f"{n}.jpg": bytes(1_000_000) for n in range(10)}))
    sizes: list[int] = []
    original = os.pread

    def counted(number: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return original(number, size, start)

    monkeypatch.setattr("os.pread", counted)
    assert len(list(iter_members(file, Inventory()))) == 10
    assert sum(sizes) < 20_000


def test_links_lead_to_files_and_devices_and_folders_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("a", tarfile.SYMTYPE),
            ("b", tarfile.LNKTYPE),
            ("c", tarfile.DIRTYPE),
            ("d", tarfile.FIFOTYPE),
            ("e", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "e"
            archive.addfile(info)
    inventory = Inventory()
    members = list(iter_members(tmp_path / "a.tar", inventory))
    assert [member.name for member in members] == ["e", "a", "b"] and len({member.start for member in members}) == 1
    assert inventory.groups[PASSED_OVER].names == {"d": 1}


def test_an_inner_tar_that_claims_more_bytes_than_the_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(FILES))
    with pytest.raises(BadInput, match="x: not a whole"):
        list(iter_members(tmp_path / "a.tar", Inventory(), Member("x", 0, 10**6)))


def test_a_missing_tar_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        list(iter_members(tmp_path / "nowhere.tar", Inventory()))
