"""importers/onnx_file.py: ONNX classifiers of any input convention give the ten-crop prediction that numpy computes."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from support.file_forms import FORM, list_forms
from support.tiny_source import CLASSES, CROP, RESIZE, TinySource

from tencrop.export.importers.graph_rewrite import collect_constants
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.run import import_net
from tencrop.export.importers.source_input import read_source_input
from tencrop.images.decode import decode
from tencrop.model.contract import Contract
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions


def cut_views(image: np.ndarray) -> list[np.ndarray]:
    """The ten crops of uint8 [37,37,3]: corners and center, then their mirror images."""
    center = {False: (2, 2), True: (2, 3)}  # torchvision rounds it in the image, and in its mirror image
    return [
        image[top : top + CROP, left : left + CROP][:, :: -1 if mirrored else 1]
        for mirrored in (False, True)
        for top, left in ((0, 0), (0, 5), center[mirrored], (5, 0), (5, 5))
    ]


def expect(net: TinySource, image: np.ndarray, options: InputConvention) -> np.ndarray:
    """Probabilities of the ten views of one resized image, [10,C]."""
    order = [2, 1, 0] if options.channels == "bgr" else [0, 1, 2]
    scale, mean, std = options.scale or 0.0, np.array(options.mean), np.array(options.std)
    seen = [
        ((view[:, :, order].astype(np.float64) * scale - mean) / std).transpose(2, 0, 1) for view in cut_views(image)
    ]
    return net.probabilities(np.stack(seen))


TORCHVISION_PRESET = InputConvention(
    channels="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
CAFFE = InputConvention(channels="bgr", scale=1.0, mean=(104.0, 117.0, 123.0), std=(60.0, 58.0, 57.0))
CONVENTIONS = {
    "batch of 1, softmax, the preset": (TinySource(), TORCHVISION_PRESET),
    "batch of 4": (TinySource(batch=4, shape=(4, 196)), TORCHVISION_PRESET),
    "any batch": (TinySource(batch="N", shape=(-1, 196)), TORCHVISION_PRESET),
    "a batch of -1": (TinySource(batch=-1, shape=(-1, 196)), TORCHVISION_PRESET),
    "the rest of the shape left open": (TinySource(shape=(1, -1)), TORCHVISION_PRESET),
    "logits": (TinySource(end="logits"), TORCHVISION_PRESET),
    "probabilities without a softmax": (TinySource(end="sums"), TORCHVISION_PRESET),
    "BGR": (TinySource(), CAFFE),
    "channels last": (TinySource(layout="nhwc"), CAFFE),
    "opset 9": (TinySource(opset=9), CAFFE),
    "opset 21": (TinySource(opset=21), CAFFE),
}


@pytest.fixture(scope="module")
def images(photographs: dict[str, Path]) -> np.ndarray:
    """The two photographs, uint8 [2,37,37,3]."""
    return np.stack([decode(path.read_bytes(), Contract(resize=RESIZE, crop=CROP))[0] for path in photographs.values()])


@pytest.mark.slow
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_gives_the_prediction_that_numpy_computes(
    convention: str, tmp_path: Path, images: np.ndarray
) -> None:
    net, options = CONVENTIONS[convention]
    made = import_net(
        net.save(tmp_path / "net.onnx"), tmp_path / "out", InputConvention(resize=RESIZE).fill_from(options), None
    )
    want = np.stack([expect(net, image, options) for image in images])
    assert made.contract.crop == CROP and made.recipe["output"] == (
        "logits" if net.end == "logits" else "probabilities"
    )
    form = ({"": 21}, 10) if net.opset == 21 else FORM  # a newer net keeps its opset
    assert list_forms(tmp_path / "out") == {"net.onnx": form, "tencrop.onnx": form}
    for engine in ("onnxruntime", "openvino"):
        opened = open_classifier(tmp_path / "out", EngineOptions("cpu", engine, "fp32"))
        mean, each = opened.forward(images)
        np.testing.assert_allclose(each, want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mean, want.mean(1), rtol=0, atol=1e-5)
    assert np.ptp(want, axis=1).max() > 0.01  # the views differ by more than 1e-5, so a wrong crop fails


def test_wrong_conventions_change_the_answers(images: np.ndarray) -> None:
    right = expect(TinySource(), images[0], CAFFE)
    wrong = (
        InputConvention(channels="rgb"),
        InputConvention(scale=1.01),
        InputConvention(mean=(123.0, 117.0, 104.0)),
        InputConvention(std=(57.0, 58.0, 60.0)),
    )
    for other in wrong:
        numbers = {name: getattr(other, name) or getattr(CAFFE, name) for name in ("channels", "scale", "mean", "std")}
        assert np.abs(expect(TinySource(), images[0], InputConvention(**numbers)) - right).max() > 1e-3


def test_files_hold_their_metadata_and_no_paths_of_the_machine(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"n0000000{i} thing {i}\n" for i in range(CLASSES)))
    made = import_net(
        TinySource().save(tmp_path / "mine.onnx"), tmp_path / "out", InputConvention(resize=RESIZE), names
    )
    file = TenCropFile.read(tmp_path / "out")
    metadata = file.metadata
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("checkpoint", "net.onnx", "parity.json", "tencrop.onnx")
    ]
    assert json.loads((tmp_path / "out/parity.json").read_text()) == made.parity == metadata.parity
    assert [(row["engine"], row["batch"]) for row in made.parity["compared"]] == [
        (engine, batch) for engine in ("onnxruntime", "openvino") for batch in (1, 2, 5)
    ]
    assert metadata.contract.labels[3].id == "n00000003" and metadata.contract.labels[3].name == "thing 3"
    assert metadata.recipe["source"] == "mine.onnx" and any(
        "torchvision's preset" in line for line in metadata.recipe["assumed"]
    )
    assert Image.open(io.BytesIO(metadata.filter_picture)).size == (
        16 * 22 + 2,
        24,
    )  # one row of 5x5 kernels, a weight 4 pixels
    assert b"someone" not in file.graph and str(tmp_path).encode() not in file.graph
    net = onnx.load(tmp_path / "out/net.onnx")
    assert not {"Dropout", "Softmax"} & {node.op_type for node in net.graph.node}


@pytest.mark.slow
def test_import_needs_no_torch(tmp_path: Path) -> None:
    net, out = TinySource().save(tmp_path / "net.onnx"), tmp_path / "out"
    program = "import sys; sys.modules['torch'] = None; from tencrop import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "import", str(net), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / "tencrop.onnx").is_file() and "assumed: classes numbered from 0" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("openvino")] == [
        ["openvino", batch] for batch in ("1", "2", "5")
    ]


@pytest.mark.slow
def test_external_weights_become_part_of_the_file(tmp_path: Path, images: np.ndarray) -> None:
    options = InputConvention(resize=RESIZE)
    onnx.save(
        TinySource().model(),
        tmp_path / "apart.onnx",
        save_as_external_data=True,
        location="apart.data",
        size_threshold=0,
    )
    import_net(tmp_path / "apart.onnx", tmp_path / "a", options, None)
    import_net(TinySource().save(tmp_path / "whole.onnx"), tmp_path / "b", options, None)
    assert (tmp_path / "a/net.onnx").read_bytes() == (tmp_path / "b/net.onnx").read_bytes()


def test_fixed_batch_in_a_constant_of_integers_is_freed(tmp_path: Path) -> None:
    model = TinySource().model()
    model.graph.initializer.remove(next(value for value in model.graph.initializer if value.name == "shape"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value_ints=[1, 196]))
    onnx.save(model, tmp_path / "net.onnx")
    made = import_net(tmp_path / "net.onnx", tmp_path / "out", InputConvention(resize=RESIZE), None)
    assert {row["batch"] for row in made.parity["compared"]} == {1, 2, 5}


def test_constants_of_every_attribute_are_collected() -> None:
    model = TinySource().model()
    attributes: dict[str, Any] = {
        "value_int": 3,
        "value_ints": [3, 4],
        "value_float": 0.5,
        "value_floats": [0.5, 0.25],
        "value_string": "no number",
    }
    model.graph.node.extend(
        helper.make_node("Constant", [], [key], **{key: value}) for key, value in attributes.items()
    )
    stored = {name: numpy_helper.to_array(value) for name, value in collect_constants(model).items()}
    assert (
        stored["value_int"].shape == ()
        and stored["value_ints"].dtype == np.int64
        and stored["value_floats"].dtype == np.float32
    )
    assert {name: stored[name].tolist() for name in attributes if name in stored} == {
        k: v for k, v in attributes.items() if k != "value_string"
    }


@pytest.mark.parametrize("side", [-1, -7, 0])
def test_sides_below_one_are_open(side: int, tmp_path: Path) -> None:
    model = TinySource().model()
    shapes = {"picture": [side] * 4, "answer": [side, side], "maps": [side, 4, side, side]}
    for values, name in (
        (model.graph.input, "picture"),
        (model.graph.output, "answer"),
        (model.graph.value_info, "maps"),
    ):
        del values[:]
        values.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    source = read_onnx(tmp_path / "net.onnx")
    graph = source.model.graph
    sides = [
        [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output, *graph.value_info)
    ]
    assert sides == [[0, 0, 0, 0], [0, 0], [0, 4, 0, 0]]
    found = read_source_input(source, InputConvention(crop=CROP))
    assert (found.batch, found.layout, found.crop) == (0, "nchw", CROP)


def test_an_infinity_that_the_answers_do_not_show_is_a_number(tmp_path: Path) -> None:
    model = TinySource().model()
    model.graph.initializer.append(numpy_helper.from_array(np.array(-np.inf, np.float32), "mask"))
    model.graph.node.insert(1, helper.make_node("Max", ["maps", "mask"], ["masked"]))
    model.graph.node[2].input[0] = "masked"
    onnx.save(model, tmp_path / "net.onnx")
    made = import_net(tmp_path / "net.onnx", tmp_path / "out", InputConvention(resize=RESIZE), None)
    assert len(made.contract.labels) == CLASSES


def test_nodes_in_any_order_are_read(tmp_path: Path) -> None:
    model = TinySource().model()
    onnx.save(model, tmp_path / "sorted.onnx")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    (tmp_path / "reversed.onnx").write_bytes(model.SerializeToString())
    assert read_onnx(tmp_path / "reversed.onnx").model == read_onnx(tmp_path / "sorted.onnx").model


def test_functions_of_the_file_are_inlined(tmp_path: Path) -> None:
    model = TinySource().model()
    body = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(helper.make_function("mine", "Rectify", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Rectify", "mine"
    onnx.save(model, tmp_path / "net.onnx")
    inlined = read_onnx(tmp_path / "net.onnx").model
    assert not inlined.functions and [node.op_type for node in inlined.graph.node][1] == "Relu"
