"""A run folder belongs to one run and to one process at a time, and a folder of anything else is left alone."""

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import IO

import pytest
from support.crops import write_crops

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.evaluation.run_folder import lock_run_folder
from tencrop.runtime.classifier import Classifier


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Path]) -> Path:
    """Crops of the two photographs under two of the model's classes, 19 images, one of them broken."""
    return write_crops(tmp_path / "photos", photographs, 18, broken="pagoda/broken.jpg")


def test_a_folder_of_other_files_is_left_alone(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/summary.json").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for out in ("mine", "file", "file/x"):
        with pytest.raises(BadInput, match="choose another"):
            evaluate_source(open_source(folder), classifier, limit=1, out=tmp_path / out)
    assert (tmp_path / "mine/summary.json").read_text() == "keep"


def test_a_damaged_claim_json_is_one_line(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/claim.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(BadInput, match="damaged"):
        evaluate_source(open_source(folder), classifier, limit=1, out=tmp_path / "run", resume=True)


def test_second_fresh_start_at_the_same_moment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_comes(file: Path, content: str) -> None:
        monkeypatch.undo()
        with (
            pytest.raises(BadInput, match="another process uses this folder"),
            lock_run_folder(tmp_path / "run", {"model": "b"}, False),
        ):
            pass
        write_atomic(file, content)

    monkeypatch.setattr("tencrop.evaluation.run_folder.write_atomic", another_comes)
    with lock_run_folder(tmp_path / "run", {"model": "a"}, False):
        assert json.loads((tmp_path / "run/claim.json").read_text()) == {"model": "a"}
    with lock_run_folder(tmp_path / "run", {"model": "a"}, True):
        pass


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_distinguished_from_another_process(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(held: IO[str], _: int) -> None:
        assert held.writable()  # else NFS says EBADF
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(BadInput, match=rf"cannot be used \({os.strerror(refusal)}\)"),
        lock_run_folder(tmp_path / "run", {}, False),
    ):
        pass


def test_resume_refuses_another_list_of_images(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    evaluate_source(open_source(folder), classifier, limit=3, out=tmp_path / "run")
    with pytest.raises(BadInput, match="another list of images"):
        evaluate_source(open_source(folder), classifier, limit=4, out=tmp_path / "run", resume=True)
