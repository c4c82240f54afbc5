"""importers/imported_checkpoint.py: an import has a checkpoint whose forward is the imported net's."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import save_file
from support.caffemodel import encode_blob, encode_caffemodel, encode_float, encode_integer, encode_layer
from support.command_line import call
from support.tiny_recipe import load_last
from support.tiny_source import RESIZE, TinySource
from test_export_importers_onnxzoo_alexnet import fill_weights

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.export.importers import imported_checkpoint
from tencrop.export.importers.input_convention import InputConvention, parse_input_convention
from tencrop.export.importers.net_reading import ReadNet, read_net
from tencrop.export.importers.run import import_net
from tencrop.export.importers.torchvision_alexnet import CONVOLUTIONS, LINEAR
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions

KERNELS, UNITS, CLASSES = (64, 96, 96, 64, 64), (512, 256), 3


def write_torchvision(folder: Path) -> Path:
    """A thin net of torchvision's layers."""
    random, inputs, weights = np.random.default_rng(7), 3, dict[str, np.ndarray]()
    sides = {name: (kernel, kernel) for name, kernel, *_ in CONVOLUTIONS}
    for name, width in zip((*sides, *LINEAR), (*KERNELS, *UNITS, CLASSES), strict=True):
        shape = (width, inputs * 36 if name == LINEAR[0] else inputs, *sides.get(name, ()))
        spread = np.sqrt(2 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = random.normal(0, spread, shape).astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.1, width).astype(np.float32)
        inputs = width
    save_file(weights, folder / "alexnet.safetensors")
    return folder / "alexnet.safetensors"


def write_bvlc(folder: Path) -> Path:
    """bvlcalexnet with an eighth of its kernels, and 8 units in fc6 and fc7."""
    model = fill_weights(64)
    for value in (value for value in model.graph.initializer if value.data_type == onnx.TensorProto.FLOAT):
        whole = numpy_helper.to_array(value)
        keep = [slice(side if side in (3, 1000) else side // 8) for side in whole.shape[:2]]
        value.CopyFrom(numpy_helper.from_array(whole[tuple(keep)].copy(), value.name))
    flat = next(value for value in model.graph.initializer if value.name == "OC2_DUMMY_1")
    flat.CopyFrom(numpy_helper.from_array(np.array([1, 9216 // 8]), flat.name))
    for given in model.graph.input:
        shape = next((value.dims for value in model.graph.initializer if value.name == given.name), None)
        if shape is not None:
            given.CopyFrom(helper.make_tensor_value_info(given.name, given.type.tensor_type.elem_type, shape))
    onnx.save(model, folder / "bvlcalexnet-9.onnx")
    return folder / "bvlcalexnet-9.onnx"


def write_caffe(folder: Path, crop: int = 227, **changes: bytes) -> Path:
    (folder / "net.caffemodel").write_bytes(encode_caffemodel(False, crop, **changes))
    return folder / "net.caffemodel"


def write_caffenet(folder: Path) -> Path:
    """CaffeNet pools before it normalizes; at 226 pixels a pooling is rounded up."""
    lrn = encode_integer(1, 5) + encode_float(2, 5e-3) + encode_float(3, 0.75)
    pool = encode_integer(2, 3) + encode_integer(3, 2)
    swapped = {
        f"{first}{stage}": encode_layer(False, f"{kind}{stage}", kind, [bottom], top, parameter)
        for stage in "12"
        for first, kind, bottom, top, parameter in (
            ("norm", "Pooling", f"conv{stage}", f"small{stage}", pool),
            ("pool", "LRN", f"small{stage}", f"pool{stage}", lrn),
        )
    }
    return write_caffe(folder, 226, **swapped)


def make_mean_image(side: int) -> Callable[[Path], InputConvention]:
    def write(folder: Path) -> InputConvention:
        image = np.random.default_rng(3).uniform(80, 140, (3, side, side)).astype(np.float32)
        (folder / "mean.binaryproto").write_bytes(encode_blob(image, old=True))
        return parse_input_convention(str(folder / "mean.binaryproto"), None)

    return write


def give_nothing(folder: Path) -> InputConvention:
    return InputConvention()


FAMILIES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], InputConvention], str, tuple[str, ...]]] = {
    "torchvision": (
        write_torchvision,
        give_nothing,
        "aligned",
        (
            *("conv1 relu pool", "conv2 relu pool", "conv3 relu", "conv4 relu", "conv5 relu pool dropout"),
            *("fc6 relu dropout", "fc7 relu", "fc8"),
        ),
    ),
    "bvlcalexnet": (
        write_bvlc,
        give_nothing,
        "aligned",
        (
            *("conv1 relu lrn pooldown", "conv2 relu lrn pooldown", "conv3 relu", "conv4 relu", "conv5 relu pool"),
            *("fc6 relu dropout", "fc7 relu dropout", "fc8"),
        ),
    ),
    "Caffe's AlexNet": (
        write_caffe,
        make_mean_image(256),
        "aligned",
        ("conv1 relu lrn pool", "conv2 relu lrn pool", "fc6 relu dropout", "fc8"),
    ),
    "CaffeNet": (
        write_caffenet,
        make_mean_image(226),
        "center",
        ("conv1 relu pool lrn", "conv2 relu pool lrn", "fc6 relu dropout", "fc8"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_of_the_checkpoint_is_the_imported_graph(
    family: str, tmp_path: Path, photographs: dict[str, Path]
) -> None:
    write, give, reading, layers = FAMILIES[family]
    made = import_net(write(tmp_path), tmp_path / "out", give(tmp_path), None)
    checkpoint = Checkpoint.load(tmp_path / "out/checkpoint")
    assert checkpoint.contract == made.contract and checkpoint.recipe["mean"] == reading
    assert checkpoint.net.layers == layers and checkpoint.net.dropout.inverted
    assert not checkpoint.statistics.colour_std.any()  # no colour noise
    net = TenCropNet.from_checkpoint(checkpoint)
    images = np.stack([decode(path.read_bytes(), made.contract)[0] for path in photographs.values()])
    engine = open_engine((tmp_path / "out/net.onnx").read_bytes(), EngineChoice("onnxruntime", "cpu", "fp32"))
    with torch.inference_mode():
        crops = net.cut_views(torch.from_numpy(images), made.contract.views).flatten(0, 1)
        logits = net.net(crops).numpy()
        mean, each = (values.numpy() for values in net(torch.from_numpy(images)))
    want = engine.run(crops.numpy())["logits"]
    assert np.abs(logits - want).max() < 1e-5 * np.abs(want).max() and np.ptp(want, 0).max() > 1e-3 * np.abs(want).max()
    want_mean, want_each = open_classifier(tmp_path / "out", EngineOptions("cpu", "onnxruntime", "fp32")).forward(
        images
    )
    np.testing.assert_allclose(mean, want_mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(each, want_each, rtol=0, atol=1e-5)


def import_tiny(folder: Path, given: InputConvention | None = None, **changes: Any) -> Path:
    net = TinySource(**changes).save(folder / "net.onnx")
    import_net(net, folder / "out", replace(given or InputConvention(), resize=RESIZE), None)
    return folder / "out/checkpoint"


def test_order_of_channels_is_folded_and_the_scale_is_kept(tmp_path: Path) -> None:
    given = InputConvention(channels="bgr", mean=(0.4, 0.5, 0.6), std=(0.25, 0.5, 1.0), scale=1 / 255)
    checkpoint = Checkpoint.load(import_tiny(tmp_path, given))
    kernels = TinySource().weights()[0]
    np.testing.assert_array_equal(checkpoint.weights["conv1.weight"], kernels[:, ::-1])
    assert checkpoint.net.scale == (0.003921569, 0.007843138, 0.015686275)  # red, green, blue
    assert checkpoint.mean.shape == (3, RESIZE, RESIZE)
    np.testing.assert_allclose(checkpoint.mean[:, 0, 0], [153, 127.5, 102], rtol=1e-6)
    card = TenCropFile.read(tmp_path / "out").metadata.recipe
    assert {key: checkpoint.recipe[key] for key in card} == dict(card)


def test_net_without_a_checkpoint_is_imported_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert not import_tiny(tmp_path, end="sums").exists()
    assert "no checkpoint: its probabilities do not come out of a softmax" in caplog.messages
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["net.onnx", "parity.json", "tencrop.onnx"]


def test_wrong_reading_makes_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def misread(*arguments: Any) -> ReadNet:
        net = read_net(*arguments)
        return ReadNet(net.config, net.weights | {"fc8.bias": net.weights["fc8.bias"] * 1.01})

    monkeypatch.setattr(imported_checkpoint, "read_net", misread)
    with caplog.at_level(logging.INFO):
        assert not import_tiny(tmp_path).exists()
    assert any(message.startswith("no checkpoint: its logits differ from the net's by ") for message in caplog.messages)


def test_checkpoint_of_another_net_is_not_left_beside_the_import(tmp_path: Path) -> None:
    import_tiny(tmp_path)
    before = (tmp_path / "out/net.onnx").read_bytes()
    with pytest.raises(BadInput, match="checkpoint: is of another net"):
        import_tiny(tmp_path, end="sums")
    assert (tmp_path / "out/net.onnx").read_bytes() == before


@pytest.mark.slow
def test_imported_net_is_made_smaller_and_evaluated(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = sorted(path.name for path in tiny_folder.iterdir())
    Path("names.txt").write_text("".join(f"{name}\n" for name in names))
    for command in (
        ("import", str(write_torchvision(tmp_path)), "mine", "--labels", "names.txt"),
        ("export", "mine", "fp16", "--weights", "fp16", "--fc-rank", "8"),
        ("export", "mine/checkpoint", "int8", "--weights", "int8", "--images", str(tiny_folder)),
        *(("evaluate", str(tiny_folder), "--model", name, "--out", f"run/{name}") for name in ("mine", "int8", "fp16")),
    ):
        assert call(monkeypatch, *command) == 0, command
    sizes = [(Path(folder) / "net.onnx").stat().st_size for folder in ("mine", "int8", "fp16")]
    assert sizes[0] > 2.5 * sizes[1] and sizes[0] > 2.5 * sizes[2]
    contracts = {TenCropFile.read(Path(folder)).metadata.contract.sha256 for folder in ("mine", "int8", "fp16")}
    assert len(contracts) == 1


@pytest.mark.slow
def test_imported_net_is_fine_tuned(
    tmp_path: Path, tiny_prepared: PreparedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = ("compile=false", "precision=fp32", "epochs=1", "optim.batch=8")
    changes = [word for change in sets for word in ("--set", change)]
    store = str(tiny_prepared.root)
    assert call(monkeypatch, "import", str(write_torchvision(tmp_path)), "mine") == 0
    assert call(monkeypatch, "train", "finetune", "--data", store, "--start", "mine", "--out", "run", *changes) == 0
    before, after = Checkpoint.load(Path("mine/checkpoint")), load_last(Path("run"))
    assert after.net == before.net
    for name in ("conv1.weight", "fc6.weight"):  # conv1 learns about as fast as the others, though it sees pixels
        moved = np.abs(after.weights[name] - before.weights[name]).max() / np.abs(before.weights[name]).max()
        assert 1e-4 < moved < 1e-1
