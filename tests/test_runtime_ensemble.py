"""runtime/ensemble.py: the mean of several nets' probabilities, only for nets that belong together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble, open_predictor

FP32 = EngineOptions("cpu", "openvino", "fp32")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with other biases of its last layer, too small for its probe to miss."""
    model = onnx.load(EMBEDDED / "tencrop.onnx")
    bias = next(value for value in model.graph.initializer if value.name == "net/fc8.bias")
    values = numpy_helper.to_array(bias) + 1e-3 * np.random.default_rng(0).standard_normal(101).astype(np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    file = tmp_path_factory.mktemp("other") / "other.onnx"
    onnx.save(model, file)
    return file


def test_an_ensemble_answers_with_the_mean_of_each_view_and_of_the_ten(
    other: Path, photographs: dict[str, Path]
) -> None:
    both = open_predictor([EMBEDDED, other], FP32)
    assert both.name == "caltech101 + other" and len(both.members) == 2
    pixels = np.stack([decode(path.read_bytes(), both.contract)[0] for path in photographs.values()])
    one, two = (member.forward(pixels) for member in both.members)
    assert np.abs(one[0] - two[0]).max() > 1e-5
    for got, a, b in zip(both.forward(pixels), one, two, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, (a.astype(np.float64) + b) / 2, rtol=0, atol=1e-7)


def test_an_ensemble_of_one_is_the_model() -> None:
    assert isinstance(open_predictor([EMBEDDED], FP32), Classifier)


def test_an_ensembles_hash_tells_its_members_and_their_order(classifier: Classifier, other: Path) -> None:
    second = open_classifier(other, FP32)
    hashes = {
        Ensemble("e", members).sha256
        for members in ((classifier, second), (second, classifier), (classifier, classifier))
    }
    assert len(hashes) == 3


def test_nets_of_different_classes_are_not_an_ensemble(classifier: Classifier) -> None:
    metadata = classifier.file.metadata
    fewer = replace(metadata, contract=replace(metadata.contract, labels=metadata.contract.labels[:50]))
    with pytest.raises(BadInput, match=r"no ensemble of caltech101 and .*: they differ in preprocessing or classes"):
        Ensemble("e", (classifier, replace(classifier, file=replace(classifier.file, metadata=fewer))))


def test_nets_that_run_at_different_precisions_are_refused(classifier: Classifier, other: Path) -> None:
    with pytest.raises(WorkFailed, match="onnxruntime on cpu in fp32"):
        Ensemble("e", (classifier, open_classifier(other, EngineOptions("cpu", "onnxruntime"))))
