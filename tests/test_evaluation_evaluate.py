"""Batch validation: served, evaluated and torch's predictions are equal; a run resumes; bad input is one line."""

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from fastapi.testclient import TestClient
from PIL import Image
from support.crops import assert_same_validation, write_crops
from support.pixel_model import PixelModel
from torch import Tensor
from torchvision.transforms import v2

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.evaluation import plan as plan_file
from tencrop.evaluation.chunks import evaluate_chunks
from tencrop.evaluation.evaluate import evaluate, evaluate_source
from tencrop.evaluation.part_file import part_path
from tencrop.evaluation.plan import Plan, plan_evaluation
from tencrop.evaluation.prediction_records import ADDED, count_errors, write_records
from tencrop.evaluation.report import MISTAKES, PANEL
from tencrop.evaluation.summary import Summary
from tencrop.evaluation.text_report import text_report
from tencrop.images.limits import MAX_BYTES
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.measured_errors import VIEWS
from tencrop.model.metrics import ErrorCounts
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.server.app import create_app
from tencrop.server.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Path]) -> Path:
    """Crops of the two photographs under two of the model's classes, 19 images, one of them broken."""
    return write_crops(tmp_path / "photos", photographs, 18, broken="pagoda/broken.jpg")


class Evaluated(NamedTuple):
    """A finished run: its images, its folder and its summary."""

    images: Path
    run: Path
    summary: Summary


@pytest.fixture(scope="module")
def evaluated(
    photographs: dict[str, Path], classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """All images of such a folder, for tests that only read."""
    root = tmp_path_factory.mktemp("evaluated")
    images = write_crops(root / "photos", photographs, 18, broken="pagoda/broken.jpg")
    return Evaluated(images, root / "run", evaluate(plan_all(images, classifier), classifier, root / "run"))


def plan_all(root: Path, classifier: Predictor, limit: int | None = None) -> Plan:
    return plan_evaluation(open_source(root), classifier, 1, limit)


def predict_with_torch(path: Path, weights: Mapping[str, np.ndarray], mean: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities by the center crop and by ten views, in fp32: torchvision, torch and the net's weights alone."""
    w = {name: torch.from_numpy(value).float() for name, value in weights.items()}

    def norm_pool(x: Tensor) -> Tensor:
        return F.max_pool2d(F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=2.0), 3, 2)

    def full(x: Tensor, layer: str) -> Tensor:
        return (
            F.linear(F.linear(x, w[f"{layer}.down.weight"]), w[f"{layer}.up.weight"], w[f"{layer}.up.bias"]).relu()
            * 0.5
        )

    with Image.open(path) as opened:
        square = v2.functional.pil_to_tensor(v2.CenterCrop(256)(v2.Resize(256)(opened.convert("RGB")))).float()
    x = torch.stack(v2.functional.ten_crop(square - torch.from_numpy(mean), [224, 224]))
    x = norm_pool(F.conv2d(F.pad(x, (0, 3, 0, 3)), w["conv1.weight"], w["conv1.bias"], 4).relu())
    x = norm_pool(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=2, groups=2).relu())
    x = F.conv2d(x, w["conv3.weight"], w["conv3.bias"], padding=1).relu()
    x = F.conv2d(x, w["conv4.weight"], w["conv4.bias"], padding=1, groups=2).relu()
    x = F.max_pool2d(F.conv2d(x, w["conv5.weight"], w["conv5.bias"], padding=1, groups=2).relu(), 3, 2)
    views = F.linear(full(full(x.flatten(1), "fc6"), "fc7"), w["fc8.weight"], w["fc8.bias"]).softmax(-1).numpy()
    return {
        "center": views[4],
        "ten_crop": views.mean(0),
    }  # torchvision's order: four corners, the center, their mirror images


def test_processes_and_threads_write_the_same_records(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    """In chunks of 8, so that memory is used again, with every kind of image that cannot be decoded or read."""
    (folder / "sunflower/missing.jpg").symlink_to(tmp_path / "gone.jpg")
    with (folder / "sunflower/long.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    plan = replace(plan_all(folder, classifier), chunk_size=8)
    for workers in (0, 2):
        evaluate(plan, PixelModel(classifier), tmp_path / str(workers), workers=workers)
    assert_same_validation(tmp_path / "0", tmp_path / "2")
    reasons = pq.read_table(tmp_path / "2/predictions.parquet")["reason"].to_pylist()
    assert {*reasons} == {"", "damaged_image", "missing", "image_too_large"}


def test_a_file_that_is_gone_ends_a_run_with_processes(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    plan = plan_all(folder, classifier)
    (folder / plan.entries[3].id).unlink()
    with pytest.raises(WorkFailed, match=f"{plan.entries[3].id} is listed but No such file"):
        evaluate(plan, classifier, tmp_path / "run", workers=1)


@pytest.mark.slow
def test_evaluation_equals_an_independent_script_on_every_image(evaluated: Evaluated, embedded: Checkpoint) -> None:
    rows = [row for row in pq.read_table(evaluated.run / "predictions.parquet").to_pylist() if not row["undecodable"]]
    assert len(rows) == 18
    for row in rows:
        path = evaluated.images / row["id"]
        for kind, theirs in predict_with_torch(path, embedded.weights, embedded.statistics.mean).items():
            assert row[f"{kind}_indices"] == np.argsort(-theirs, kind="stable")[:5].tolist(), row["id"]
            np.testing.assert_allclose(row[f"{kind}_probabilities"], np.sort(theirs)[::-1][:5], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_served_predictions_equal_evaluated_ones(evaluated: Evaluated, classifier: Classifier) -> None:
    with TestClient(create_app([classifier], Settings())) as client:
        for row in pq.read_table(evaluated.run / "predictions.parquet").to_pylist():
            served = client.post("/v1/predict", content=(evaluated.images / row["id"]).read_bytes())
            assert (served.status_code == 400) == row["undecodable"]
            top = served.json().get("top", [])
            assert [guess["index"] for guess in top] == row["ten_crop_indices"]
            np.testing.assert_allclose(
                [guess["probability"] for guess in top], row["ten_crop_probabilities"], rtol=0, atol=1e-4
            )


@pytest.mark.slow
def test_an_image_whose_answer_is_not_a_number_is_wrong(
    folder: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Classifier.forward

    def first_is_none(self: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, each = forward(self, images)
        mean[0], each[0] = np.nan, np.nan
        return mean, each

    monkeypatch.setattr(Classifier, "forward", first_is_none)
    plan = plan_all(folder, classifier)
    summary = evaluate(plan, classifier, tmp_path / "run")
    rows = pq.read_table(tmp_path / "run/predictions.parquet").to_pylist()
    without = [row for row in rows if not row["ten_crop_indices"]]
    assert len(without) == summary.undecodable + summary.no_answer
    assert summary.undecodable == 1 and summary.no_answer > 1
    assert [row["id"] for row in without if row["undecodable"]] == ["pagoda/broken.jpg"]
    assert all(row["undecodable"] != row["no_answer"] for row in without)
    assert not any(row["undecodable"] or row["no_answer"] for row in rows if row["ten_crop_indices"])
    assert summary.ten_crop.top1_error >= len(without) / 19
    lost = f"(1 undecodable, {summary.no_answer} without an answer)"
    assert lost in text_report(summary) and "19, of them " + lost[1:-1] in (tmp_path / "run/report.html").read_text()


def test_report_prints_the_published_errors_of_the_recipe(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    metadata = classifier.file.metadata
    then = {"data": "ILSVRC-2012 validation", "views": "ten_crop", "top1": 40.66, "top5": 18.21}
    known = replace(
        classifier,
        file=replace(classifier.file, metadata=replace(metadata, recipe={**metadata.recipe, "expect": [then]})),
    )
    summary = evaluate(plan_all(folder, known, limit=2), known, tmp_path / "run")
    assert summary.to_json()["expect"] == [then]
    assert (
        '<th scope="row">2012, ten views, ILSVRC-2012 validation</th><td>40.66%'
        in (tmp_path / "run/report.html").read_text()
    )
    (then_line,) = (line for line in text_report(summary).splitlines() if "2012" in line)
    assert then_line.split() == [
        *("ten", "views", "top-1", "error", "40.66%", "top-5", "error", "18.21%"),
        *("(this", "recipe's", "net", "in", "2012,", "ILSVRC-2012", "validation)"),
    ]


@pytest.mark.parametrize(("sixth", "published"), [({}, "5 nets"), ({"conv6": {}}, "7 nets")], ids=["five", "seven"])
def test_an_ensemble_is_reported_beside_the_papers_average_of_as_many_kinds(
    folder: Path, classifier: Classifier, sixth: dict[str, Any], published: str
) -> None:
    file, metadata = classifier.file, classifier.file.metadata
    then = {"data": "ILSVRC-2012 validation", "views": "ten_crop", "top1": 40.66, "top5": 18.21}
    members = [
        replace(classifier, file=replace(file, metadata=replace(metadata, recipe={"expect": [then], "net": net})))
        for net in ({}, sixth)
    ]
    both = Ensemble("both", tuple(members))
    summary = evaluate(plan_all(folder, both, limit=1), both)
    assert [error["data"] for error in summary.to_json()["expect"]] == [
        "ILSVRC-2012 validation",
        f"ILSVRC-2012 validation, {published}",
    ]


@pytest.mark.slow
def test_report_counts_equal_the_records(evaluated: Evaluated) -> None:
    _, out, summary = evaluated
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    assert json.loads((out / "summary.json").read_text()) == summary.to_json()
    assert (summary.n, summary.undecodable, summary.no_answer, len(rows)) == (19, 1, 0, 19)
    for kind in ("center", "ten_crop"):
        wrong = sum(row["label"] not in row[f"{kind}_indices"][:1] for row in rows)
        assert getattr(summary, kind).top1_error == wrong / 19
        by_class = [[row for row in rows if row["label"] == label] for label in {row["label"] for row in rows}]
        means = json.loads((out / "summary.json").read_text())["mean_over_classes"][kind]
        for k, name in ((1, "top1_error"), (5, "top5_error")):
            errors = [np.mean([row["label"] not in row[f"{kind}_indices"][:k] for row in some]) for some in by_class]
            assert means[name] == pytest.approx(np.mean(errors), abs=1e-15) and len(errors) == 2
            assert f"{means[name]:.2%}" in text_report(summary).split(VIEWS[kind])[2].splitlines()[0]
    assert [row["id"] for row in rows if row["undecodable"]] == ["pagoda/broken.jpg"]
    page = (out / "report.html").read_text()
    assert f"ten views, mean over classes</th><td><strong>{means['top1_error']:.2%}</strong>" in page
    shown = page.partition('id="suspects"')[0].count("<img")
    assert shown == PANEL + min(MISTAKES, wrong - 1) and "pagoda" in page and "://" not in page
    assert set(json.loads((out / "run.json").read_text())) == {"started", "seconds", "images", "images_per_s", "cores"}
    assert not (out / "parts").exists()


@pytest.mark.slow
def test_resumed_run_equals_undisturbed_run(
    folder: Path, classifier: Classifier, evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_file, "CHUNK", 4)
    plan = plan_all(folder, classifier)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, classifier, tmp_path / "resumed", False, interrupt_after_eight)
    assert not (tmp_path / "resumed/summary.json").exists()
    with pytest.raises(BadInput, match="--resume"):
        evaluate(plan, classifier, tmp_path / "resumed")
    seen: list[int] = []
    evaluate(plan, classifier, tmp_path / "resumed", True, seen.append)
    assert seen == [12, 16, 19]  # eight were kept
    assert_same_validation(tmp_path / "resumed", evaluated.run)


def interrupt_after_eight(done: int) -> None:
    """A progress callback that stops the run as Ctrl-C does."""
    if done >= 8:
        raise KeyboardInterrupt


def test_resume_redoes_damaged_and_foreign_parts(
    folder: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_file, "CHUNK", 4)
    plan, out = plan_all(folder, classifier), tmp_path / "run"
    model = PixelModel(classifier)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, model, out, False, interrupt_after_eight)
    (out / "parts/0000000.parquet").write_bytes(b"PAR1 no more")
    shutil.copy(out / "parts/0000001.parquet", out / "parts/0000002.parquet")
    seen: list[int] = []
    assert evaluate(plan, model, out, True, seen.append).n == 19
    assert seen == [8, 12, 16, 19]


def test_resume_redoes_parts_of_version_0_1(
    folder: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_file, "CHUNK", 4)
    plan, out = plan_all(folder, classifier), tmp_path / "run"
    model = PixelModel(classifier)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, model, out, False, interrupt_after_eight)
    first = out / "parts/0000000.parquet"
    write_records(first, pq.read_table(first).drop_columns(list(ADDED)))
    seen: list[int] = []
    assert evaluate(plan, model, out, True, seen.append).n == 19
    assert seen == [8, 12, 16, 19]


def test_finished_run_of_version_0_1_is_read(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    plan, out, model = plan_all(folder, classifier, 3), tmp_path / "run", PixelModel(classifier)
    summary = evaluate(plan, model, out)
    document = summary.to_json()
    for key in ("no_answer", "subset", "available"):
        del document[key]
    (out / "summary.json").write_text(json.dumps(document))
    assert evaluate(plan, model, out, True) == summary


class TwoStreams:
    """A model whose forward passes run in pairs: one alone waits in vain."""

    streams = 2

    def __init__(self, model: Classifier) -> None:
        self.name, self.sha256, self.members = model.name, model.sha256, model.members
        self.contract, self.engine, self._model = model.contract, model.engine, model
        self._both_here = threading.Barrier(2)

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._both_here.wait(30)
        return self._model.forward(images)


def test_batches_run_at_once_on_the_streams_and_records_keep_their_order(
    folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    plan = plan_all(folder, classifier, limit=8)  # two batches
    for out, model in ((tmp_path / "one", classifier), (tmp_path / "two", TwoStreams(classifier))):
        (out / "parts").mkdir(parents=True)
        assert list(evaluate_chunks(plan, [0], out, model)) == [8]
    one, two = (pq.read_table(part_path(tmp_path / out, 0)) for out in ("one", "two"))
    assert one.equals(two)


def test_one_call_plans_and_evaluates_and_keeps_nothing(
    folder: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_file, "CHUNK", 4)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # read TMPDIR again
    before, seen = set(tmp_path.iterdir()), list[tuple[int, int]]()
    summary = evaluate_source(
        open_source(folder), PixelModel(classifier), limit=6, progress=lambda done, total: seen.append((done, total))
    )
    assert (summary.n, summary.available) == (6, 19) and seen == [(4, 6), (6, 6)]
    assert set(tmp_path.iterdir()) == before
    kept = evaluate_source(open_source(folder), PixelModel(classifier), limit=6, out=tmp_path / "run")
    assert kept == summary and (tmp_path / "run/report.html").exists()


def test_finished_run_is_not_run_again(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    plan, model = plan_all(folder, classifier, 3), PixelModel(classifier)
    summary = evaluate(plan, model, tmp_path / "run")
    seen: list[int] = []
    assert evaluate(plan, model, tmp_path / "run", True, seen.append) == summary and seen == []


def test_image_that_vanishes_is_one_line_and_nothing_is_lost(
    folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    plan = plan_all(folder, classifier)
    shutil.rmtree(folder / "sunflower")
    with pytest.raises(WorkFailed, match=r"sunflower/flower\d+\.jpg is listed but No such file"):
        evaluate(plan, classifier, tmp_path / "run")


@pytest.mark.slow
def test_counts_of_merged_parts_are_the_sum(evaluated: Evaluated) -> None:
    table = pq.read_table(evaluated.run / "predictions.parquet")
    parts = [count_errors(table.slice(start, 7), "center") for start in range(0, 19, 7)]
    assert sum(parts, ErrorCounts()) == count_errors(table, "center")
