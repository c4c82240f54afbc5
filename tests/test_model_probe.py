"""model/probe.py: formula images are the same everywhere, and a probe tells an engine that computes something else."""

import io

import numpy as np
import pytest
from PIL import Image

from tencrop.common.errors import WorkFailed
from tencrop.model.probe import SEEDS, TOLERANCE, Probe, formula_image, formula_png


def test_formula_image_is_the_same_on_every_machine() -> None:
    image = formula_image(3)
    assert image.shape == (288, 320, 3) and image.dtype == np.uint8
    assert np.array_equal(image, formula_image(3)) and not np.array_equal(image, formula_image(4))
    assert 100 < image.mean() < 156 and image.std() > 40


def test_probe_allows_what_the_precision_allows() -> None:
    probe = Probe(0, (1, 0), (0.6, 0.4))
    assert probe.describe_mismatch(np.array([0.4, 0.6]), "fp32") is None
    assert "off by" in (probe.describe_mismatch(np.array([0.41, 0.59]), "fp32") or "")
    assert probe.describe_mismatch(np.array([0.41, 0.59]), "bf16") is None
    assert "top class" in (probe.describe_mismatch(np.array([0.6, 0.4]), "bf16") or "")
    assert "not numbers" in (probe.describe_mismatch(np.array([np.nan, 0.4]), "bf16") or "")


def test_a_formula_png_is_the_formula_image() -> None:
    with Image.open(io.BytesIO(formula_png(5))) as image:
        np.testing.assert_array_equal(np.asarray(image), formula_image(5))


def test_slack_adds_to_the_tolerance() -> None:
    probe = Probe(0, (0, 1), (0.6, 0.4), slack=0.05)
    answer = np.array([0.6, 0.4]) + (TOLERANCE["fp32"] + 0.04) * np.array([1, -1])
    assert probe.describe_mismatch(answer, "fp32") is None
    assert "off by" in (Probe(0, (0, 1), (0.6, 0.4)).describe_mismatch(answer, "fp32") or "")


def test_the_chosen_image_is_the_one_whose_top_two_differ_most() -> None:
    answers = {formula_png(seed): np.array([0.3, 0.3 + 0.01 * seed, 0.1]) for seed in SEEDS}
    answers[formula_png(3)] = np.array([0.05, 0.05, 0.9])
    probe = Probe.choose(lambda png: answers[png], slack=0.5)
    assert probe == Probe(3, (2, 0, 1), (0.9, 0.05, 0.05), 0.5)


def test_an_image_without_an_answer_is_not_chosen() -> None:
    answers = {formula_png(seed): np.array([np.nan, np.nan]) for seed in SEEDS}
    with pytest.raises(WorkFailed, match="not numbers"):
        Probe.choose(lambda png: answers[png])
    answers[formula_png(7)] = np.array([0.6, 0.4])
    assert Probe.choose(lambda png: answers[png]) == Probe(7, (0, 1), (0.6, 0.4))
