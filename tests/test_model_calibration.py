"""model/calibration.py: confidences, thresholds and sets; and how a tencrop.onnx carries them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from oracles import softmax
from support.calibrated import CALIBRATION, TINY, write_calibrated

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.export.describe_file import describe_file
from tencrop.model.calibration import ConfidenceMap, count_set, find_threshold
from tencrop.model.tencropfile import CALIBRATION as KEY
from tencrop.model.tencropfile import TenCropFile, add_calibration

LOGITS = np.random.default_rng(0).normal(0, 3, (7, 10, 4))
VIEWS = softmax(LOGITS)
MEAN = VIEWS.mean(1)


def test_no_map_gives_the_probabilities_themselves() -> None:
    assert ConfidenceMap("none").apply(MEAN, VIEWS) is MEAN


def test_temperature_of_the_mean_divides_its_logarithms() -> None:
    found = ConfidenceMap("t", temperature=2.5).apply(MEAN, VIEWS)
    np.testing.assert_allclose(found, softmax(np.log(MEAN) / 2.5))


def test_temperature_of_each_view_divides_its_logits() -> None:
    found = ConfidenceMap("t", temperature=0.5, of_views=True).apply(MEAN, VIEWS)
    np.testing.assert_allclose(found, softmax(LOGITS / 0.5).mean(1))


def test_biases_add_to_the_logarithms_of_their_classes() -> None:
    found = ConfidenceMap("b", temperature=2.0, biases=(0.5, -1.0, 0.0, 2.0)).apply(MEAN, VIEWS)
    np.testing.assert_allclose(found, softmax(np.log(MEAN) / 2 + np.array([0.5, -1, 0, 2])))


def test_knots_map_each_class_on_straight_lines() -> None:
    found = ConfidenceMap("k", knots=((0.0, 0.0), (0.5, 0.2), (1.0, 0.8))).apply(MEAN, VIEWS)
    lines = np.where(MEAN < 0.5, 0.4 * MEAN, 0.2 + 1.2 * (MEAN - 0.5))
    np.testing.assert_allclose(found, lines / lines.sum(1, keepdims=True))


def test_confidences_of_an_answer_without_doubt_are_numbers() -> None:
    sure = np.array([1, 0, 0, 0], np.float32)
    found = CALIBRATION.map.apply(sure[:3], np.tile(sure[:3], (10, 1)))
    assert found.dtype == np.float32 and np.isfinite(found).all() and abs(found.sum() - 1) < 1e-6


def test_knots_that_fall_are_refused() -> None:
    with pytest.raises(BadInput, match="do not rise"):
        ConfidenceMap("k", knots=((0.0, 0.0), (0.5, 0.4), (0.7, 0.3)))


def test_the_first_label_is_always_in_the_set() -> None:
    counts = count_set(np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]], np.float32), 0.95)
    assert counts.tolist() == [1, 1]
    assert count_set(np.array([0.5, 0.3, 0.2], np.float32), float(np.float32(0.3))) == 2  # as large as the threshold


def test_a_coverage_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert find_threshold(CALIBRATION, 0.9, "net") == 0.1
    with pytest.raises(BadInput, match=r"coverage 0\.93: net is calibrated for 0\.8, 0\.9"):
        find_threshold(CALIBRATION, 0.93, "net")
    with pytest.raises(BadInput, match=r"coverage 0\.9000001: "):
        find_threshold(CALIBRATION, 0.9000001, "net")
    with pytest.raises(BadInput, match="net is not calibrated; `tencrop calibrate MODEL DATA --out MODEL2`"):
        find_threshold(None, 0.9, "net")


def test_a_stored_calibration_is_read_back() -> None:
    stored = json.loads(json.dumps(dump(CALIBRATION)))
    assert parse(type(CALIBRATION), stored, "x") == CALIBRATION


def test_a_calibrated_file_begins_with_the_bytes_of_the_file(tmp_path: Path) -> None:
    plain = (TINY / "tencrop.onnx").read_bytes()
    file = TenCropFile.read(write_calibrated(tmp_path / "mine"))
    assert file.graph.startswith(plain) and file.metadata.calibration == CALIBRATION
    assert replace(file.metadata, calibration=None) == TenCropFile.read(TINY).metadata
    model = onnx.load_model_from_string(file.graph)
    onnx.checker.check_model(model)
    assert model.graph == onnx.load_model_from_string(plain).graph
    assert describe_file(file.folder)["calibration"] == CALIBRATION.describe()


def test_another_calibration_takes_the_place_of_the_first(tmp_path: Path) -> None:
    plain = (TINY / "tencrop.onnx").read_bytes()
    other = replace(CALIBRATION, n=77)
    assert add_calibration(add_calibration(plain, CALIBRATION), other) == add_calibration(plain, other)


def test_a_calibration_in_a_file_that_was_written_anew_is_not_replaced(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(add_calibration((TINY / "tencrop.onnx").read_bytes(), CALIBRATION))
    model.metadata_props.reverse()
    with pytest.raises(BadInput, match="written by another program"):
        add_calibration(model.SerializeToString(), CALIBRATION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map": {"name": "b", "biases": [0.5, 0.5]}}, "of 2 classes, it has 3"),
        ({"n": 0}, r"calibration: n: "),
        ({"thresholds": [{"coverage": 1.5, "probability": 0.1}]}, "thresholds.0.coverage"),
    ],
    ids=["biases", "n", "coverage"],
)
def test_a_damaged_calibration_is_bad_input(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = onnx.load_model_from_string((TINY / "tencrop.onnx").read_bytes())
    model.metadata_props.add(key=KEY, value=json.dumps(dump(CALIBRATION) | change))
    (tmp_path / "tencrop.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match=message):
        TenCropFile.read(tmp_path)
