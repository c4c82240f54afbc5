"""importers/source_types.py, source_output.py: nets of float16, of uint8 images and of several outputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.tiny_source import CROP, RESIZE, TinySource

from tencrop.common.errors import BadInput
from tencrop.export.importers import run
from tencrop.export.importers.half_precision import compute_in_float, computes_in_half
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.run import import_net
from tencrop.export.importers.source_output import choose_output
from tencrop.export.importers.source_types import compute_source_in_float
from tencrop.export.session import open_session
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, CROP, CROP), np.uint8)
BYTES = TensorProto.UINT8


def in_half(keep_ends: bool) -> onnx.ModelProto:
    """A tiny net in float16, as `net.half()` is exported; keep_ends: between Casts, as converters write it."""
    model = TinySource(end="logits").model()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    if keep_ends:
        model.graph.node[0].input[0] = "half"
        model.graph.node.insert(0, helper.make_node("Cast", ["picture"], ["half"], to=TensorProto.FLOAT16))
        model.graph.node[-1].output[0] = "scores16"
        model.graph.node.append(helper.make_node("Cast", ["scores16"], ["scores"], to=TensorProto.FLOAT))
    else:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def of_bytes() -> onnx.ModelProto:
    """A tiny net that takes uint8 pixels and scales them by itself."""
    model = TinySource(end="logits").model()
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"))
    model.graph.node[0].input[0] = "scaled"
    model.graph.node.insert(0, helper.make_node("Mul", ["floats", "scale"], ["scaled"]))
    model.graph.node.insert(0, helper.make_node("Cast", ["picture"], ["floats"], to=TensorProto.FLOAT))
    model.graph.input[0].type.tensor_type.elem_type = BYTES
    return model


def with_outputs() -> onnx.ModelProto:
    """A tiny net whose maps are an output, too."""
    model = TinySource().model()
    model.graph.output.insert(0, helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, 4, 7, 7]))
    return model


def save(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.mark.parametrize("keep_ends", [False, True])
def test_a_net_in_float16_is_computed_in_float32(keep_ends: bool) -> None:
    half = in_half(keep_ends)
    assert computes_in_half(half) and not computes_in_half(TinySource().model())
    model = compute_in_float(half)
    onnx.checker.check_model(model, full_check=True)
    images = IMAGES[:1].astype(np.float32) / 255
    (found,) = open_session(model.SerializeToString()).run(None, {"picture": images})
    own = images if keep_ends else images.astype(np.float16)
    (wanted,) = open_session(half.SerializeToString()).run(None, {"picture": own})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-3 * np.abs(wanted).max())
    assert not computes_in_half(model)


def test_large_weights_in_float16_stay_so_in_the_file() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float16[1,400] x) => (float16[1,400] y) {y = MatMul(x, w)}'
    )
    weights = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    made = compute_in_float(model)
    assert [tensor.data_type for tensor in made.graph.initializer] == [TensorProto.FLOAT16]
    x = np.ones((1, 400), np.float32)
    (y,) = open_session(made.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(y, x @ weights.astype(np.float32), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_an_import_of_float16_says_how_far_it_moves(tmp_path: Path) -> None:
    made = import_net(save(in_half(keep_ends=False), tmp_path), tmp_path / "out", InputConvention(resize=RESIZE), None)
    (note,) = made.recipe["notes"]
    assert note.startswith("computed in float32: the float16 of the file moves a probability by up to ")
    assert 0 < float(note.rpartition(" ")[2]) < 5e-3


@pytest.mark.slow
def test_a_net_that_bf16_moves_prefers_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "estimate_bf16", lambda tencrop, images, probabilities: 0.094)
    made = import_net(TinySource().save(tmp_path / "net.onnx"), tmp_path / "out", InputConvention(resize=RESIZE), None)
    assert made.precision == TenCropFile.read(tmp_path / "out").metadata.precision == "fp32"
    assert made.recipe["notes"] == [
        "bf16, the default of CPUs that have it, would move a probability by up to 0.094 (estimated): "
        "--precision auto computes this file in fp32"
    ]


@pytest.mark.slow
def test_a_net_of_uint8_images_sees_the_pixels(tmp_path: Path, photographs: dict[str, Path]) -> None:
    model = of_bytes()
    import_net(save(model, tmp_path), tmp_path / "out", InputConvention(resize=RESIZE), None)
    square, _ = decode(photographs["china"].read_bytes(), Contract(resize=RESIZE, crop=CROP))
    _, views = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(square[None])
    corner = np.ascontiguousarray(square[:CROP, :CROP].transpose(2, 0, 1)[None])
    (logits,) = open_session(model.SerializeToString()).run(None, {"picture": corner})
    powers = np.exp(logits[0] - logits[0].max())
    np.testing.assert_allclose(views[0, 0], powers / powers.sum(), atol=1e-5)


@pytest.mark.parametrize("given", [InputConvention(scale=1 / 255), InputConvention(mean=(1.0,) * 3, std=(2.0,) * 3)])
def test_numbers_for_pixels_of_a_net_of_uint8_images_are_refused(given: InputConvention, tmp_path: Path) -> None:
    source = read_onnx(save(of_bytes(), tmp_path))
    with pytest.raises(BadInput, match="takes uint8 images, so it scales them by itself; leave out --"):
        compute_source_in_float(source, given)


def test_one_of_several_outputs_is_chosen_by_its_name(tmp_path: Path) -> None:
    source = read_onnx(save(with_outputs(), tmp_path))
    chosen, kind = choose_output(source, "answer")
    assert [output.name for output in chosen.model.graph.output] == ["answer"] and kind is None
    assert [output.name for output in source.model.graph.output] == ["pooled", "answer"]
    assert len(choose_output(source, "pooled")[0].model.graph.node) == 3  # nodes of the other output are gone


@pytest.mark.parametrize("wanted", [None, "logits"])
def test_without_a_name_the_outputs_are_listed(wanted: str | None, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has several outputs: pooled, answer; name that of the scores: --output NAME"):
        choose_output(read_onnx(save(with_outputs(), tmp_path)), wanted)


def test_an_unknown_output_is_refused_with_the_names(tmp_path: Path) -> None:
    source = read_onnx(TinySource().save(tmp_path / "net.onnx"))
    with pytest.raises(
        BadInput, match=r"--output anser: expected logits or probabilities, or an output of the net: an"
    ) as refused:
        choose_output(source, "anser")
    assert refused.value.advice == "did you mean answer?"
    assert choose_output(source, "answer") == (source, None)
    assert choose_output(source, "probabilities") == (source, "probabilities")
