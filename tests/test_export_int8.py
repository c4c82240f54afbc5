"""export/int8.py: a third of the bytes, near to torch on both engines, refused after calibration on unlike images."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.file_forms import FORM, list_forms

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.strict_config import dump
from tencrop.export import run
from tencrop.export.compress import cast_to_fp32
from tencrop.export.describe_file import describe_file
from tencrop.export.int8 import quantize_to_int8
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity_gate import INT8_LIMITS, check_parity
from tencrop.export.run import export
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.export.torch_reference import TorchReference
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions


@pytest.fixture(scope="module")
def patches(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two photographs and parts of them, 24 in all."""
    folder = tmp_path_factory.mktemp("patches")
    for name, path in photographs.items():
        whole = Image.open(path)
        for number in range(12):
            left, top = 32 * number, 12 * number
            whole.crop((left, top, left + 280, top + 280)).save(folder / f"{name}{number}.png")
    return folder


@pytest.fixture(scope="module")
def exported(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model in int8."""
    out = tmp_path_factory.mktemp("int8") / "small"
    export(EMBEDDED / "checkpoint", out, "int8", 0, patches, features=["fc7"])
    return out


@pytest.mark.slow
def test_every_product_but_the_first_has_int8_weights(exported: Path, embedded: Checkpoint) -> None:
    net = onnx.load(exported / "net.onnx")
    weights = {node.input[0] for node in net.graph.node if node.op_type == "DequantizeLinear"}
    stored = {value.name: value.data_type for value in net.graph.initializer}
    eight = [name for name in weights & stored.keys() if stored[name] == onnx.TensorProto.INT8]
    products = [node.name for node in net.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(eight) == len(products) - 1
    assert stored["conv1.weight"] == onnx.TensorProto.FLOAT
    assert (exported / "net.onnx").stat().st_size < 1.1 * sum(value.size for value in embedded.weights.values())


@pytest.mark.slow
def test_a_sixth_convolution_is_an_int8_product_too(finetune146: Checkpoint, patches: Path, tmp_path: Path) -> None:
    finetune146.save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "small", "int8", 0, patches)
    stored = {value.name: value.data_type for value in onnx.load(tmp_path / "small/net.onnx").graph.initializer}
    assert [name for name, kind in stored.items() if kind == onnx.TensorProto.INT8 and "conv6" in name]


@pytest.mark.slow
def test_int8_files_have_the_form_of_the_others(exported: Path) -> None:
    assert list_forms(exported) == {"net.onnx": FORM, "tencrop.onnx": FORM}


@pytest.mark.slow
def test_two_products_fit_16_bits_for_cpus_without_vnni(exported: Path) -> None:
    stored = [
        value
        for value in onnx.load(exported / "net.onnx").graph.initializer
        if value.data_type == onnx.TensorProto.INT8
    ]
    largest = {value.name: int(np.abs(onnx.numpy_helper.to_array(value).astype(int)).max()) for value in stored}
    assert largest and all(2 * 255 * weight < 2**15 for weight in largest.values()), largest


@pytest.mark.slow
def test_views_share_their_first_layers_and_lrn_stays_lrn(exported: Path) -> None:
    found = describe_file(exported)
    # the images and frames on two sides, on four sides; pool5
    assert (found["nodes"]["LRN"], found["nodes"]["MaxPool"]) == (3 + 5, 3 + 5 + 1)
    assert found["parameters"] == describe_file(EMBEDDED)["parameters"]


@pytest.mark.slow
def test_parity_holds_the_differences_of_int8_and_of_the_exact_form(exported: Path) -> None:
    parity = json.loads((exported / "parity.json").read_text())
    assert parity["limits"] == dump(INT8_LIMITS) and parity["calibrated_on"] == 22
    assert all(1e-4 < row["logits_relative"] < 0.1 for row in parity["compared"])
    assert all(row["logits_relative"] < 1e-5 for row in parity["before_int8"])
    assert all(1e-4 < row["features_relative"] < 0.1 for row in parity["compared"])
    assert all(row["features_relative"] < 1e-5 for row in parity["before_int8"])


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "precision"), [("onnxruntime", "auto"), ("openvino", "fp32"), ("openvino", "auto")])
def test_every_engine_reproduces_the_probe_and_agrees_with_the_full_model(
    engine: str, precision: str, exported: Path, photographs: dict[str, Path]
) -> None:
    small, full = (
        open_classifier(exported, EngineOptions("cpu", engine, precision)),
        open_classifier(EMBEDDED, EngineOptions("cpu")),
    )
    for path in photographs.values():
        pixels, _ = decode(path.read_bytes(), small.file.metadata.contract)
        got, want = small.forward(pixels[None])[0][0], full.forward(pixels[None])[0][0]
        assert got.argmax() == want.argmax()
        np.testing.assert_allclose(got, want, rtol=0, atol=0.1)


@pytest.mark.slow
def test_net_calibrated_on_grey_images_is_rejected(embedded: Checkpoint, photographs: dict[str, Path]) -> None:
    grey = np.full((2, 256, 256, 3), 128, np.uint8)
    reference = TorchReference(embedded)
    net = quantize_to_int8(build_net_graph(cast_to_fp32(embedded)), reference.crop_each(grey))
    images = np.stack([decode(path.read_bytes(), embedded.contract)[0] for path in photographs.values()])
    tencrop = build_tencrop_graph(net, embedded.contract, embedded.mean)
    with pytest.raises(WorkFailed, match="differs from torch"):
        check_parity(net, tencrop, reference.expect(images), INT8_LIMITS)


def test_net_that_fails_the_exact_gate_is_not_quantized(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise WorkFailed("parity: no")

    monkeypatch.setattr(run, "check_parity", refuse)
    monkeypatch.setattr(run, "quantize_to_int8", lambda *_: pytest.fail("was called"))
    with pytest.raises(WorkFailed, match="parity: no"):
        export(EMBEDDED / "checkpoint", tmp_path / "out", "int8", 0, patches)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("weights", "message"), [("int8", "--images"), ("int4", "expected fp32, fp16, int8")])
def test_impossible_form_is_refused(weights: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        export(EMBEDDED / "checkpoint", tmp_path / "out", weights, 0, None)
    assert not (tmp_path / "out").exists()


def test_too_few_photographs_are_refused(photographs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "china.jpg").write_bytes(photographs["china"].read_bytes())
    with pytest.raises(BadInput, match="1 images there, but int8 needs 20 at least; give 70"):
        export(EMBEDDED / "checkpoint", tmp_path / "out", "int8", 0, tmp_path / "one")


@pytest.mark.slow
def test_net_with_columns_and_within_map_lrn_is_quantized(source145: Checkpoint, patches: Path, tmp_path: Path) -> None:
    source145.save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "out", "int8", 0, patches)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "out/net.onnx").graph.node)
    assert kinds["LRN"] == 2 and kinds["QuantizeLinear"] >= 7
