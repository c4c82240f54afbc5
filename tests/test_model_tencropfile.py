"""model/tencropfile.py: a missing, truncated or foreign tencrop.onnx is refused in one line that names it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import Probe, formula_image, formula_png
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine import Engine, open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions
from tencrop.runtime.nvidia_driver import NoGpu

FILE = EMBEDDED / "tencrop.onnx"
FP32 = EngineOptions("cpu", "auto", "fp32")


def test_metadata_survives_the_round_trip() -> None:
    metadata = TenCropFile.read(FILE).metadata
    assert type(metadata).from_props(metadata.to_props(), "test") == metadata
    assert len(metadata.contract.labels) == 101 and metadata.filter_picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("keep", [0, 1, 1000, 1_000_000, -1])
def test_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(FILE.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"cut\.onnx: not an ONNX file"):
        open_classifier(cut, FP32)


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b'{"json": 1}'])
def test_file_that_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=r"no\.onnx: not an ONNX file"):
        TenCropFile.read(tmp_path / "no.onnx")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        TenCropFile.read(tmp_path / "none.onnx")


def changed(tmp_path: Path, **metadata: str) -> Path:
    model = onnx.load(FILE)
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key.removeprefix("tencrop."), entry.value)
    onnx.save(model, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


def test_label_count_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its contract and 1 labels want"):
        TenCropFile.read(changed(tmp_path, labels='[{"id": "a", "name": "a"}]'))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contract", '{"zoom": 2}'),
        ("contract", "[]"),
        ("recipe", '{"expect": 3}'),
        ("recipe", '{"expect": [{"top1": 40.7, "top5": 18.2}]}'),
        ("contract", '{"resize": 128}'),
        ("probe", "[]"),
        ("probe", '{"seed": -1, "classes": [0], "probabilities": [1.0]}'),
        ("probe", '{"seed": 0, "classes": [], "probabilities": []}'),
        ("probe", '{"seed": 0, "classes": [101], "probabilities": [1.0]}'),
        ("labels", "{"),
        ("kernels", "%"),
    ],
)
def test_damaged_metadata_is_refused(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"changed\.onnx"):
        TenCropFile.read(changed(tmp_path, **{key: value}))


def test_graph_of_other_inputs_is_refused(tmp_path: Path) -> None:
    model = onnx.load(FILE)
    model.graph.input[0].name = "pictures"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(BadInput, match="has pictures"):
        TenCropFile.read(tmp_path / "other.onnx")


def test_graph_of_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    model = onnx.load(FILE)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(BadInput, match=r"images \[1, 256"):
        TenCropFile.read(tmp_path / "fixed.onnx")


def test_model_that_misses_its_probe_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="fails the model's probe"):
        open_classifier(changed(tmp_path, probe='{"seed": 0, "classes": [100], "probabilities": [0.99]}'), FP32)


def broken(monkeypatch: pytest.MonkeyPatch, failures: dict[str, WorkFailed]) -> None:
    """Engines on these devices fail so."""

    def opened(graph: bytes, choice: EngineChoice) -> Engine:
        if choice.device in failures:
            raise failures[choice.device]
        return open_engine(graph, choice)

    monkeypatch.setattr("tencrop.runtime.classifier.open_engine", opened)


def test_where_no_engine_works_every_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, {"cuda:0": WorkFailed("no libcudnn"), "cpu": WorkFailed("no memory")})
    with pytest.raises(
        WorkFailed, match=r"^no libcudnn; no memory$"
    ):  # once each, though there are two choices on either
        open_classifier(FILE, EngineOptions())


def test_a_failing_gpu_is_not_skipped_silently(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken(monkeypatch, {"cuda:0": WorkFailed("no libcudnn")})
    assert open_classifier(FILE, EngineOptions()).engine.device == "cpu"
    assert caplog.messages == ["caltech101: openvino on cpu runs it, because no libcudnn"]


def test_a_machine_without_a_gpu_needs_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken(monkeypatch, {"cuda:0": NoGpu("no NVIDIA driver")})
    assert open_classifier(FILE, EngineOptions()).engine.device == "cpu"
    assert not caplog.messages


def test_probe_allows_what_the_precision_allows() -> None:
    probe = Probe(0, (1, 0), (0.6, 0.4))
    assert probe.describe_mismatch(np.array([0.4, 0.6]), "fp32") is None
    assert "off by" in (probe.describe_mismatch(np.array([0.41, 0.59]), "fp32") or "")
    assert probe.describe_mismatch(np.array([0.41, 0.59]), "bf16") is None
    assert "top class" in (probe.describe_mismatch(np.array([0.6, 0.4]), "bf16") or "")
    assert "not numbers" in (probe.describe_mismatch(np.array([np.nan, 0.4]), "bf16") or "")


def test_formula_image_is_the_same_on_every_machine() -> None:
    image = formula_image(3)
    assert image.shape == (288, 320, 3) and image.dtype == np.uint8
    assert np.array_equal(image, formula_image(3)) and not np.array_equal(image, formula_image(4))
    assert 100 < image.mean() < 156 and image.std() > 40


def test_default_precision_answers_like_fp32(classifier: Classifier) -> None:
    default = open_classifier(FILE, EngineOptions("cpu"))
    pixels = decode(formula_png(7), classifier.file.metadata.contract)[0][None]
    assert np.abs(default.forward(pixels)[0] - classifier.forward(pixels)[0]).max() < 2e-2
