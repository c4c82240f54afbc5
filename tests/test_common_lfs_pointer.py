"""common/lfs_pointer.py: a file that a clone without Git LFS left is named, whatever kind it should be."""

import json
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.common.lfs_pointer import POINTER, refuse_lfs_pointer
from tencrop.dataset.layouts import open_source

TEXT = POINTER + b"v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"


@pytest.mark.parametrize("name", ["train-0.parquet", "data-0.arrow", "x.tar", "x.tar.gz", "x.tar.zst"])
def test_a_pointer_in_place_of_an_archive_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "classes.txt").write_text("ant\n")
    if name.endswith(".arrow"):
        (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / name).write_bytes(TEXT)
    with pytest.raises(BadInput, match=rf"{name}: a Git LFS pointer in place of the file; fetch it"):
        open_source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"version 1", b"PAR1"])
def test_another_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    refuse_lfs_pointer(tmp_path / "x")
