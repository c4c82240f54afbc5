"""`tencrop import` of any ONNX classifier: whatever its convention, its ten-crop prediction is the one that numpy computes."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import oracles
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import tencrop
from export.importers import classifier, run
from export.importers.options import Options, said
from export.importers.run import import_net
from export.pipeline import tencrop_onnx
from model.classifier import open_classifier
from model.contract import Contract
from model.engine import EngineOptions
from model.errors import BadInput, WorkFailed
from model.preprocess import decode
from model.tencropfile import TenCropFile

CROP, RESIZE, CLASSES = 32, 37, 7  # offsets 0, 2 and 5: the middle one is rounded down


@dataclass(frozen=True)
class Tiny:
    """A net of one convolution, in the convention that a test asks for."""

    batch: int | str = 1
    layout: str = "nchw"
    opset: int = 13
    end: str = "softmax"  # softmax, logits, sums (probabilities without a softmax)
    shape: tuple[int, ...] = (1, 196)
    seed: int = 0

    def weights(self) -> list[np.ndarray]:
        random = np.random.default_rng(self.seed)
        shapes = ((4, 3, 5, 5), (4,), (CLASSES, 196), (CLASSES,))
        return [random.normal(0, 0.2 / (1 + 0.2 * (len(shape) == 2)), shape).astype(np.float32) for shape in shapes]

    def model(self) -> onnx.ModelProto:
        sides = [self.batch, 3, CROP, CROP] if self.layout == "nchw" else [self.batch, CROP, CROP, 3]
        names = ("kernels", "offsets", "matrix", "shifts", "shape")
        stored = [numpy_helper.from_array(value, name) for value, name in zip(self.weights(), names, strict=False)]
        stored.append(numpy_helper.from_array(np.array(self.shape, np.int64), "shape"))
        nodes = [helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2])] if self.layout == "nhwc" else []
        nodes += [
            helper.make_node("Conv", ["planes" if nodes else "picture", "kernels", "offsets"], ["maps"], strides=[2, 2]),
            helper.make_node("Relu", ["maps"], ["active"], doc_string='File "/home/someone/net.py", line 3'),
            helper.make_node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
            helper.make_node("Dropout", ["flat"], ["dropped"]),
            helper.make_node("Gemm", ["dropped", "matrix", "shifts"], ["scores"], transB=1),
        ]
        if self.end == "softmax":
            nodes.append(helper.make_node("Softmax", ["scores"], ["answer"], axis=1))
        if self.end == "sums":
            nodes.append(helper.make_node("Exp", ["scores"], ["powers"]))
            nodes.append(helper.make_node("ReduceL1", ["powers"], ["sum"], axes=[1], keepdims=1))
            nodes.append(helper.make_node("Div", ["powers", "sum"], ["answer"]))
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, sides)],
            [helper.make_tensor_value_info("scores" if self.end == "logits" else "answer", TensorProto.FLOAT, [self.batch, CLASSES])],
            stored,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), path)
        return path

    def probabilities(self, planes: np.ndarray) -> np.ndarray:
        """By the slow loops of oracles.py, of float64 [N,3,32,32] as the convolution takes them."""
        kernels, offsets, matrix, shifts = (value.astype(np.float64) for value in self.weights())
        maps = np.maximum(oracles.conv(planes, kernels, offsets, 2, (0, 0), 1), 0)
        return oracles.softmax(oracles.max_pool(maps, 2, 2).reshape(len(planes), -1) @ matrix.T + shifts)


def views(image: np.ndarray) -> list[np.ndarray]:
    """The ten crops of uint8 [37,37,3]: corners and center, then their mirror images."""
    corners = ((0, 0), (0, 5), (2, 2), (5, 0), (5, 5))
    crops = [image[top : top + CROP, left : left + CROP] for top, left in corners]
    return [*crops, *(crop[:, ::-1] for crop in crops)]


def expected(net: Tiny, image: np.ndarray, options: Options) -> np.ndarray:
    """[10,C] of one resized image."""
    order = [2, 1, 0] if options.channels == "bgr" else [0, 1, 2]
    scale, mean, std = options.scale or 0.0, np.array(options.mean), np.array(options.std)
    seen = [((view[:, :, order].astype(np.float64) * scale - mean) / std).transpose(2, 0, 1) for view in views(image)]
    return net.probabilities(np.stack(seen))


PRESET = Options(channels="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = Options(channels="bgr", scale=1.0, mean=(104.0, 117.0, 123.0), std=(60.0, 58.0, 57.0))
CONVENTIONS = {
    "batch of 1, softmax, the preset": (Tiny(), PRESET),
    "batch of 4": (Tiny(batch=4, shape=(4, 196)), PRESET),
    "any batch": (Tiny(batch="N", shape=(-1, 196)), PRESET),
    "the rest of the shape left open": (Tiny(shape=(1, -1)), PRESET),
    "logits": (Tiny(end="logits"), PRESET),
    "probabilities without a softmax": (Tiny(end="sums"), PRESET),
    "BGR": (Tiny(), CAFFE),
    "channels last": (Tiny(layout="nhwc"), CAFFE),
    "opset 9": (Tiny(opset=9), CAFFE),
    "opset 21": (Tiny(opset=21), CAFFE),
}


@pytest.fixture(scope="module")
def images(photographs: dict[str, Path]) -> np.ndarray:
    """The two photographs, uint8 [2,37,37,3]."""
    return np.stack([decode(path.read_bytes(), Contract(resize=RESIZE, crop=CROP))[0] for path in photographs.values()])


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_gives_the_prediction_that_numpy_computes(convention: str, tmp_path: Path, images: np.ndarray) -> None:
    net, options = CONVENTIONS[convention]
    made = import_net(net.save(tmp_path / "net.onnx"), tmp_path / "out", Options(resize=RESIZE).over(options), None)
    want = np.stack([expected(net, image, options) for image in images])
    assert made.contract.crop == CROP and made.output == ("logits" if net.end == "logits" else "probabilities")
    for engine in ("onnxruntime", "openvino"):
        opened = open_classifier(tmp_path / "out", EngineOptions("cpu", engine, "fp32"))
        mean, each = opened.predict(images)
        np.testing.assert_allclose(each, want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mean, want.mean(1), rtol=0, atol=1e-5)
    assert np.ptp(want, axis=1).max() > 0.01  # the views differ by far more, so a wrong place would show


def test_wrong_conventions_would_show(images: np.ndarray) -> None:
    right = expected(Tiny(), images[0], CAFFE)
    wrong = (Options(channels="rgb"), Options(scale=1.01), Options(mean=(123.0, 117.0, 104.0)), Options(std=(57.0, 58.0, 60.0)))
    for other in wrong:
        numbers = {name: getattr(other, name) or getattr(CAFFE, name) for name in ("channels", "scale", "mean", "std")}
        assert np.abs(expected(Tiny(), images[0], Options(**numbers)) - right).max() > 1e-3


def test_files_hold_what_the_card_promises_and_nothing_of_where_they_were_made(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"n0000000{i} thing {i}\n" for i in range(CLASSES)))
    made = import_net(Tiny().save(tmp_path / "mine.onnx"), tmp_path / "out", Options(resize=RESIZE), names)
    file = TenCropFile.read(tmp_path / "out")
    card = file.card
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["net.onnx", "parity.json", "tencrop.onnx"]
    assert json.loads((tmp_path / "out/parity.json").read_text()) == made.parity == card.parity
    assert [(row["engine"], row["batch"]) for row in made.parity["compared"]] == [
        (engine, batch) for engine in ("onnxruntime", "openvino") for batch in (1, 2, 5)
    ]
    assert card.labels[3].id == "n00000003" and card.labels[3].name == "thing 3"
    assert card.recipe["source"] == "mine.onnx" and any("torchvision's preset" in line for line in card.recipe["assumed"])
    assert Image.open(io.BytesIO(card.kernels)).size == (16 * 22 + 2, 24)  # one row of 5x5 kernels, a weight 4 pixels
    assert b"someone" not in file.graph and str(tmp_path).encode() not in file.graph
    net = onnx.load(tmp_path / "out/net.onnx")
    assert not {"Dropout", "Softmax"} & {node.op_type for node in net.graph.node}


def test_import_needs_no_torch(tmp_path: Path) -> None:
    net, out = Tiny().save(tmp_path / "net.onnx"), tmp_path / "out"
    program = "import sys; sys.modules['torch'] = None; import tencrop; tencrop.main()"
    done = subprocess.run([sys.executable, "-c", program, "import", str(net), str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "tencrop.onnx").is_file() and "assumed: classes numbered from 0" in done.stdout


def test_weights_beside_the_file_are_taken_in(tmp_path: Path, images: np.ndarray) -> None:
    options = Options(resize=RESIZE)
    onnx.save(Tiny().model(), tmp_path / "apart.onnx", save_as_external_data=True, location="apart.data", size_threshold=0)
    import_net(tmp_path / "apart.onnx", tmp_path / "a", options, None)
    import_net(Tiny().save(tmp_path / "whole.onnx"), tmp_path / "b", options, None)
    assert (tmp_path / "a/net.onnx").read_bytes() == (tmp_path / "b/net.onnx").read_bytes()


def edited(edit: Callable[[onnx.ModelProto], object], net: Tiny | None = None) -> Callable[[Path], Path]:
    """A broken file."""

    def write(folder: Path) -> Path:
        model = (net or Tiny()).model()
        edit(model)
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        return folder / "net.onnx"

    return write


def external(location: str, **told: str) -> Callable[[Path], Path]:
    def point(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **told}.items():
            tensor.external_data.add(key=key, value=value)

    return edited(point)


def bytes_of(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "net.onnx").write_bytes(content)
        return folder / "net.onnx"

    return write


def linked(folder: Path) -> Path:
    """External data through a link that leads out of the folder."""
    path = external("link.data", length="1200")(folder)
    (folder / "link.data").symlink_to("/etc/passwd")
    return path


def short(folder: Path) -> Path:
    (folder / "short.data").write_bytes(b"0" * 100)
    return external("short.data", length="1200")(folder)


def batch_in_a_concat(model: onnx.ModelProto) -> None:
    """A stored row beside the values, as a vision transformer's class token stands there."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), np.float32), "token"))
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((CLASSES, 200), np.float32), "matrix"))
    model.graph.node[4].input[0] = "joined"
    model.graph.node.insert(4, helper.make_node("Concat", ["flat", "token"], ["joined"], axis=1))


def named(domain: str, op: str) -> Callable[[onnx.ModelProto], None]:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = op, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return rename


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def sides(*shape: int, kind: int = TensorProto.FLOAT) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.input[0].CopyFrom(helper.make_tensor_value_info("picture", kind, shape))


def no_matrix_fits(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((CLASSES, 195), np.float32), "matrix"))


def infinite(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.full((CLASSES, 196), np.nan, np.float32), "matrix"))


def maps_for_an_answer(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, 4, 7, 7]))


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "external data above the folder": (external("../secret.data"), "outside the model's folder"),
    "external data at an absolute path": (external("/etc/passwd"), "outside the model's folder"),
    "external data through a link": (linked, "outside the model's folder"),
    "external data that is missing": (external("gone.data"), "not there"),
    "external data that ends too soon": (short, "truncated"),
    "external data at no number": (external("net.onnx", offset="x"), "no numbers"),
    "external data without a place": (external(""), "outside the model's folder"),
    "truncated": (lambda folder: bytes_of(Tiny().model().SerializeToString()[:-200])(folder), "truncated"),
    "a picture": (bytes_of(b"\x89PNG\r\n\x1a\n" + bytes(100)), "not an ONNX file"),
    "a text": (bytes_of(b"the weights are elsewhere\n"), "not an ONNX file"),
    "nothing": (bytes_of(b""), "not an ONNX file"),
    "missing": (lambda folder: folder / "net.onnx", "No such file"),
    "another domain's operator": (edited(named("com.example", "Swirl")), "operator Swirl"),
    "no such operator": (edited(named("", "Swirl")), "Swirl"),
    "weights of another shape": (edited(no_matrix_fits), "net.onnx"),
    "weights that are no numbers": (edited(infinite), "no numbers"),
    "two inputs": (edited(second_input), "one input"),
    "grey images": (edited(sides(1, 1, CROP, CROP)), "channels"),
    "images that are no squares": (edited(sides(1, 3, CROP, CROP + 2)), "squares"),
    "a row of pixels": (edited(sides(1, 3072)), "expected float images"),
    "bytes": (edited(sides(1, 3, CROP, CROP, kind=TensorProto.UINT8)), "expected float images"),
    "maps for an answer": (edited(maps_for_an_answer), "a row of scores"),
    "a batch that cannot be made any": (edited(batch_in_a_concat), "batch is fixed to 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_source_is_one_line_and_nothing_is_written(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, message = REFUSED[what]
    (tmp_path / "models").mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(1200))
    source, out = write(tmp_path / "models"), tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["tencrop", "import", str(source), str(out), "--resize", str(RESIZE)])
    with pytest.raises(SystemExit) as ended:
        tencrop.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and told.startswith("tencrop: ") and message in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--channels", "grb"), "--channels grb"),
        (("--layout", "hwc"), "--layout hwc"),
        (("--output", "votes"), "--output votes"),
        (("--output", "logits"), "they are probabilities"),
        (("--mean", "1,2"), "--mean 1,2"),
        (("--mean", "a,b,c"), "--mean a,b,c"),
        (("--mean", "nan"), "--mean nan"),
        (("--std", "0,1,1"), "--std"),
        (("--scale", "0"), "--scale 0"),
        (("--crop", "40"), "--crop the same"),
        (("--crop", "100000"), "--crop 100000"),
        (("--resize", "30"), "smaller than the net's crop"),
        (("--layout", "nhwc"), "channels in layout nhwc"),
        (("--labels", "three.txt"), "has 3 lines, the net 7"),
        (("--labels", "missing.txt"), "missing.txt"),
        (("--mean", "missing.binaryproto"), "missing.binaryproto"),
    ],
)
def test_bad_option_is_one_line_and_nothing_is_written(
    flags: tuple[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("three.txt").write_text("a\nb\nc\n")
    Tiny().save(Path("net.onnx"))
    monkeypatch.setattr("sys.argv", ["tencrop", "import", "net.onnx", "out", *flags])
    with pytest.raises(SystemExit) as ended:
        tencrop.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and message in told
    assert not Path("out").exists()


def test_what_is_served_already_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a tencrop\.onnx already"):
        import_net(tencrop.EMBEDDED / "tencrop.onnx", tmp_path / "out", Options(), None)


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a file"):
        import_net(Tiny().save(tmp_path / "net.onnx"), tmp_path / "net.onnx", Options(), None)


@pytest.mark.parametrize("wrong", ["mean", "views", "net"])
def test_gate_refuses_what_differs_from_the_source(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true, net_of = tencrop_onnx, classifier.net_of

    def pipeline(net: onnx.ModelProto, contract: Contract, mean: np.ndarray) -> onnx.ModelProto:
        made = true(net, contract, mean * 1.01 if wrong == "mean" else mean)
        if wrong == "views":
            ends = next(value for value in made.graph.initializer if value.name == "tencrop/view1.starts")
            ends.CopyFrom(numpy_helper.from_array(np.array([0, 4]), ends.name))
            ends = next(value for value in made.graph.initializer if value.name == "tencrop/view1.ends")
            ends.CopyFrom(numpy_helper.from_array(np.array([CROP, CROP + 4]), ends.name))
        return made

    def net(*arguments: Any) -> onnx.ModelProto:
        made = net_of(*arguments)
        if wrong == "net":
            next(node for node in made.graph.node if node.op_type == "Relu").op_type = "Tanh"
        return made

    monkeypatch.setattr(run, "tencrop_onnx", pipeline)
    monkeypatch.setattr(run, "net_of", net)
    with pytest.raises(WorkFailed, match="differs from"):
        import_net(Tiny().save(tmp_path / "net.onnx"), tmp_path / "out", Options(resize=RESIZE), None)
    assert not (tmp_path / "out").exists()


def test_disk_that_fills_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, out = Tiny().save(tmp_path / "net.onnx"), tmp_path / "out"
    import_net(net, out, Options(resize=RESIZE), None)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write, written = Path.write_bytes, []

    def fill(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space"):
        import_net(Tiny(seed=1).save(tmp_path / "other.onnx"), out, Options(resize=RESIZE), None)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_names_are_ids_and_lines_with_ids_are_read_as_such(tmp_path: Path) -> None:
    net = Tiny().save(tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("tabby cat\ncrane\nred fox\ncrane\nant\nbee\ngnu\n")
    labels = import_net(net, tmp_path / "out", Options(resize=RESIZE), tmp_path / "names.txt").contract.labels
    assert [label.id for label in labels[:4]] == ["tabby cat", "crane #1", "red fox", "crane #3"] and labels[1].name == "crane"


def test_numbers_of_the_command_line() -> None:
    assert said("104,117,123", "1").mean == (104.0, 117.0, 123.0) and said(None, "0.5").std == (0.5, 0.5, 0.5)
    known = Options(channels="bgr", scale=1.0, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    assert said("0.5", None).over(known) == Options(channels="bgr", mean=(0.5, 0.5, 0.5))
    assert said(None, None, channels="rgb").over(known) == Options("rgb", None, 1.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
