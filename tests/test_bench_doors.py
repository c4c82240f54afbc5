"""bench/doors: the null model's answers tell images apart, and the table divides the CPU time as measured."""

import numpy as np
import pytest

from bench.doors.__main__ import Figures, render_table
from bench.doors.null_model import answer_square, write_null_model
from bench.doors.photographs import PHOTOGRAPHS
from tencrop.images.decode import decode
from tencrop.model.probe import formula_image
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions


@pytest.fixture(scope="module")
def null_model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    path = write_null_model(tmp_path_factory.mktemp("null"), classes=101)
    return open_classifier(path, EngineOptions("cpu", "onnxruntime", "fp32"))


def test_each_image_has_an_answer_of_its_own(null_model: Classifier) -> None:
    squares = np.stack([formula_image(seed, 256, 256) for seed in range(8)])
    probabilities, views = null_model.forward(squares)
    expected = np.stack([answer_square(square, null_model.contract) for square in squares])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
    np.testing.assert_array_equal(views, np.repeat(probabilities[:, None], 10, 1))
    apart = np.abs(expected[:, None] - expected).max(2) + np.eye(len(squares))
    assert apart.min() > 0.01


@pytest.mark.parametrize(("name", "kilobytes"), [("256x256", 17), ("500x375, as ImageNet's", 83)])
def test_photographs_have_the_usual_number_of_bytes(name: str, kilobytes: int, null_model: Classifier) -> None:
    image = PHOTOGRAPHS[name].encode(0)
    assert len(image) / 1000 == pytest.approx(kilobytes, abs=1)
    _, info = decode(image, null_model.contract)
    assert f"{info.width}x{info.height}" == name.split(",")[0]


def test_the_table_takes_medians_and_leaves_decoding_out() -> None:
    rounds = [
        Figures(100, (0.03, 0.5, 0.47), 0.02),
        Figures(90, (0.05, 0.9, 0.5), 0.03),
        Figures(80, (0.04, 0.6, 0.5), 0.04),
    ]
    row = render_table({("small", 2): rounds}, {"small": 0.5}).splitlines()[2]
    assert row == "| small | 2 | 90.0 | 1.14 ms | 0.64 ms | 40 us | 0.04, 0.60, 0.50 | 3.0 % |"
    alone = render_table({("small", 0): [Figures(100, (1.45,), 0.02)]}, {"small": 0.5}).splitlines()[2]
    assert alone == "| small | 0 | 100.0 | 1.45 ms | 0.95 ms |  | 1.45 | 2.0 % |"
