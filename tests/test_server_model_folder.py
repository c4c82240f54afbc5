"""The folder of a repository: which files are models, by which names, and which links are refused."""

import os
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.server.model_folder import ModelFolder


def test_models_are_folders_and_files_and_a_folder_goes_first(tmp_path: Path) -> None:
    for name in (
        "b/tencrop.onnx",
        "a.onnx",
        "b.onnx",
        ".c.onnx",
        "d/net.onnx",
        "e.txt",
        "f.onnx/tencrop.onnx",
        "g\n.onnx",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "circle.onnx").symlink_to(tmp_path / "circle.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    found = ModelFolder(tmp_path).list_files()
    assert {name: str(file.path.relative_to(tmp_path)) for name, file in found.items()} == {
        "a": "a.onnx",
        "b": "b/tencrop.onnx",
        "f.onnx": "f.onnx/tencrop.onnx",
    }
    assert list(found) == sorted(found)


@pytest.mark.parametrize("link", ["a.onnx", "a"], ids=["file", "folder"])
def test_a_link_may_lead_within_the_repository_and_not_out_of_it(tmp_path: Path, link: str) -> None:
    root = tmp_path / "models"
    for folder in (root / "..data", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "tencrop.onnx").touch()
    target = "tencrop.onnx" if link.endswith("onnx") else ""
    (root / link).symlink_to(root / "..data" / target)
    assert ModelFolder(root).list_files()["a"].check().exists()
    (root / link).unlink()
    (root / link).symlink_to(tmp_path / "outside" / target)
    with pytest.raises(BadInput, match="a link that leads out of the repository"):
        ModelFolder(root).list_files()["a"].check()


def test_a_repository_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.onnx").touch()
    (tmp_path / "link").symlink_to("models")
    assert ModelFolder(tmp_path / "link").list_files()["a"].check().exists()


def test_a_file_that_changes_has_other_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"one")
    folder = ModelFolder(tmp_path)
    first = folder.list_files()
    assert folder.list_files() == first
    (tmp_path / "new").write_bytes(b"two")
    os.utime(tmp_path / "new", ns=(first["a"].time_ns, first["a"].time_ns))
    os.replace(tmp_path / "new", tmp_path / "a.onnx")  # of the same size and time
    assert folder.list_files() != first
