"""Every file that a command writes is on the disk, and not only in memory, when the command has ended."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.disk_calls import DiskCalls

from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.export.run import export
from tencrop.model.checkpoint import Checkpoint
from tencrop.runtime.classifier import Classifier
from tencrop.server.job_store import JOB, open_job_store
from tencrop.server.schemas import Validation
from tencrop.server.settings import Settings


def files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    assert found
    return found


def test_files_of_an_evaluation_are_on_the_disk(
    classifier: Classifier, photographs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "pagoda").mkdir(parents=True)
    (tmp_path / "photos" / "pagoda" / "china.jpg").symlink_to(photographs["china"])
    calls = DiskCalls(monkeypatch)
    evaluate_source(open_source(tmp_path / "photos"), classifier, out=tmp_path / "run")
    for file in files(tmp_path / "run"):
        calls.check(file)


@pytest.mark.slow
def test_files_of_an_export_are_on_the_disk(
    source145: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source145.save(tmp_path / "checkpoint")
    calls = DiskCalls(monkeypatch)
    export(tmp_path / "checkpoint", tmp_path / "out", "fp16", 16, None)
    for file in files(tmp_path / "out"):
        calls.check(file)


def test_files_of_a_prepared_data_set_are_on_the_disk(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    prepare(open_source(tiny_folder), tmp_path / "out", 0.2, lambda done: None)
    for file in files(tmp_path / "out"):
        calls.check(file)


def test_a_job_of_a_server_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Validation(id="1" * 24, dataset="photos", model="m", limit=1, status="queued", created=datetime.now(UTC))
    store = open_job_store(Settings(data_root=tmp_path, state_dir=tmp_path / "state"))
    assert store is not None
    calls = DiskCalls(monkeypatch)
    with closing(store):
        store.save(job)
        calls.check(store.folder / job.id / JOB)
