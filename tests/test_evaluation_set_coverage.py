"""evaluation/set_coverage.py: a validation of a calibrated model counts the sets that hold the true label."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from support.calibrated import CALIBRATION, CLASSES, TINY, write_calibrated, write_pictures

from tencrop.dataset.layouts import open_source
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.summary import read_summary
from tencrop.evaluation.text_report import text_report
from tencrop.images.decoder_version import decoder_version
from tencrop.model.calibration import Threshold
from tencrop.model.metrics import wilson_interval
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

FP32 = EngineOptions("cpu", "openvino", "fp32")
THRESHOLDS = (Threshold(0.8, 0.5), Threshold(0.9, 0.3), Threshold(0.95, 0.0))


def test_sets_are_counted_as_the_classifier_gives_them(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", 4)
    (tmp_path / "photos" / "cat" / "broken.png").write_bytes(b"no picture")
    source = open_source(tmp_path / "photos")
    with open_classifier(TINY, FP32) as plain:
        plan = plan_evaluation(source, plain)
        assert evaluate(plan, plain).sets is None
    mine = write_calibrated(tmp_path / "sure", replace(CALIBRATION, thresholds=THRESHOLDS, dataset_sha256=plan.sha256))
    with open_classifier(mine, FP32) as classifier:
        summary = evaluate(plan, classifier, tmp_path / "run")
        assert evaluate(replace(plan, also_right=[(2 - label,) for label in plan.labels]), classifier).sets is None
        assert evaluate(replace(plan, among=(0, 1)), classifier).sets is None
        files = [file for name in CLASSES for file in sorted((tmp_path / "photos" / name).glob("[0-9]*.png"))]
        held = [
            [
                file.parent.name in {guess.id for guess in found.set or ()}
                for file, found in zip(files, answers, strict=True)
            ]
            for answers in (classifier.predict(files, coverage=each.coverage) for each in THRESHOLDS)
        ]
    assert summary.sets and summary.sets.images == len(files) == 12 and summary.sets.on_these_images
    reached = [float(np.mean(each)) for each in held]
    assert [each.reached for each in summary.sets.coverages] == reached and reached[0] < reached[2] == 1
    assert summary.sets.coverages[0].interval == wilson_interval(reached[0], 12)
    provenance = pq.read_schema(tmp_path / "run" / "predictions.parquet").metadata
    assert provenance[b"model_sha256"].decode() == summary.model.sha256
    assert provenance[b"decoder"].decode() == summary.decoder == decoder_version()
    assert read_summary(tmp_path / "run" / "summary.json") == summary
    assert f"sets hold the right label: {reached[0]:.1%} (" in text_report(summary)
    assert "calibrated on these images" in text_report(summary)
    assert "was calibrated on these images" in (tmp_path / "run" / "report.html").read_text()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["sets"]["coverages"][2]["reached"] == 1
