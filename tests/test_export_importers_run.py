"""importers/run.py: a bad file, flag or folder is one line and exit code 2, and nothing is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.tiny_source import CLASSES, CROP, RESIZE, TinySource

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.export.describe_file import describe_file
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.pixels import resolve_pixels
from tencrop.export.importers.reference import SourceReference
from tencrop.export.importers.run import import_net
from tencrop.export.importers.source_input import read_source_input
from tencrop.export.importers.source_to_net import convert_to_net
from tencrop.export.sample_images import make_formula_images
from tencrop.model.contract import Contract
from tencrop.model.embedded import EMBEDDED


def edit_source(edit: Callable[[onnx.ModelProto], object], net: TinySource | None = None) -> Callable[[Path], Path]:
    """Write a tiny net with an error in it."""

    def write(folder: Path) -> Path:
        model = (net or TinySource()).model()
        edit(model)
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        return folder / "net.onnx"

    return write


def store_weights_at(location: str, **entries: str) -> Callable[[Path], Path]:
    def point(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    return edit_source(point)


def write_bytes(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "net.onnx").write_bytes(content)
        return folder / "net.onnx"

    return write


def write_link(folder: Path) -> Path:
    """Write external data behind a link that leads out of the folder."""
    path = store_weights_at("link.data", length="1200")(folder)
    (folder / "link.data").symlink_to("/etc/passwd")
    return path


def write_short_data(folder: Path) -> Path:
    (folder / "short.data").write_bytes(b"0" * 100)
    return store_weights_at("short.data", length="1200")(folder)


def sum_along_rows(model: onnx.ModelProto) -> None:
    """Insert an operator whose batch is not freed."""
    insert_before_relu("CumSum", "axis")(model)
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array(3), "axis"))


def list_unused_weight(model: onnx.ModelProto) -> None:
    """Store a weight that no node takes, and list it as an input, as older files do."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "unused"))
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [4]))


def name_operator(domain: str, op: str) -> Callable[[onnx.ModelProto], None]:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = op, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return rename


def add_second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def set_input(*shape: int, kind: int = TensorProto.FLOAT) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.input[0].CopyFrom(helper.make_tensor_value_info("picture", kind, shape))


def shrink_matrix(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((CLASSES, 195), np.float32), "matrix"))


def spoil(number: float, name: str = "matrix", dtype: type = np.float32) -> Callable[[Path], Path]:
    """Write a net with one value of a weight replaced. In half precision a Cast follows the weight."""

    def edit(model: onnx.ModelProto) -> None:
        stored = next(value for value in model.graph.initializer if value.name == name)
        values: np.ndarray = numpy_helper.to_array(stored).astype(dtype)
        values.flat[3] = number
        stored.CopyFrom(numpy_helper.from_array(values, name))
        if dtype is np.float16:
            model.graph.node.insert(0, helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT))
            gemm = next(node for node in model.graph.node if name in node.input and node.op_type != "Cast")
            gemm.input[list(gemm.input).index(name)] = "cast"

    return edit_source(edit)


def spoil_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(next(value for value in model.graph.initializer if value.name == "offsets"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["offsets"], value_floats=[1.0, np.nan, 1.0, 1.0]))


def answer_with_maps(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, 4, 7, 7]))


def answer_with_one_score(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ReduceMax", ["answer"], ["best"], axes=[1], keepdims=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("best", TensorProto.FLOAT, [1, 1]))


def answer_as(kind: int) -> Callable[[Path], Path]:
    """Write a net whose scores have another type."""

    def cast(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Cast", ["answer"], ["cast"], to=kind))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("cast", kind, [1, CLASSES]))

    return edit_source(cast)


def add_foreign_operator_and_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(helper.make_function("mine", "Rectify", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    name_operator("com.example", "Swirl")(model)


def insert_before_relu(op: str, *more: str, outputs: int = 1, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    def insert(model: onnx.ModelProto) -> None:
        made = ["changed", "mean", "variance"][:outputs]
        model.graph.initializer.extend(numpy_helper.from_array(np.ones(4, np.float32), name) for name in more)
        model.graph.node.insert(1, helper.make_node(op, ["maps", *more], made, **attributes))
        model.graph.node[2].input[0] = "changed"

    return insert


def set_dropout_training(model: onnx.ModelProto) -> None:
    dropout = next(node for node in model.graph.node if node.op_type == "Dropout")
    dropout.input.extend(["ratio", "training"])
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))


BATCH_NORM = insert_before_relu("BatchNormalization", "g", "b", "m", "v", outputs=3, training_mode=1)
NOISE = insert_before_relu("RandomNormalLike", seed=1.0)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "external data above the folder": (store_weights_at("../secret.data"), "outside the model's folder"),
    "external data at an absolute path": (store_weights_at("/etc/passwd"), "outside the model's folder"),
    "external data through a link": (write_link, "outside the model's folder"),
    "external data that is missing": (store_weights_at("gone.data"), "not there"),
    "external data that ends too soon": (write_short_data, "truncated"),
    "external data at no number": (store_weights_at("net.onnx", offset="x"), "no numbers"),
    "external data without a place": (store_weights_at(""), "outside the model's folder"),
    "truncated": (lambda folder: write_bytes(TinySource().model().SerializeToString()[:-200])(folder), "truncated"),
    "a picture": (write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "not an ONNX file"),
    "a text": (write_bytes(b"the weights are elsewhere\n"), "not an ONNX file"),
    "nothing": (write_bytes(b""), "not an ONNX file"),
    "missing": (lambda folder: folder / "net.onnx", "No such file"),
    "another domain's operator": (edit_source(name_operator("com.example", "Swirl")), "operator Swirl"),
    "no such operator": (edit_source(name_operator("", "Swirl")), "Swirl"),
    "weights of another shape": (edit_source(shrink_matrix), "net.onnx"),
    "weights that are no numbers": (spoil(np.nan), "'matrix' holds values that are no numbers"),
    "kernels that are no numbers": (spoil(np.nan, "kernels"), "'kernels' holds values that are no numbers"),
    "weights in half precision": (spoil(np.nan, dtype=np.float16), "'matrix' holds values that are no numbers"),
    "a constant that is no number": (edit_source(spoil_constant), "'offsets' holds values that are no numbers"),
    "infinite weights": (spoil(np.inf), "are no numbers; check 'matrix', which holds infinities, and --scale"),
    "another domain's operator beside a function": (
        edit_source(add_foreign_operator_and_function),
        "operator Swirl of 'com.example'",
    ),
    "external data at a NUL": (store_weights_at("a\0b"), "lies in no file"),
    "external data at 5,000 letters": (store_weights_at("x" * 5000), "lies in no file"),
    "images of a type that there is not": (
        edit_source(set_input(1, 3, CROP, CROP, kind=99)),
        "its input is of type 99",
    ),
    "text for an answer": (answer_as(TensorProto.STRING), "answers with tensor(string)"),
    "whole numbers for an answer": (answer_as(TensorProto.INT64), "answers with tensor(int64)"),
    "a norm in training mode": (
        edit_source(BATCH_NORM, TinySource(opset=15)),
        "BatchNormalization is in training mode",
    ),
    "dropout in training mode": (edit_source(set_dropout_training), "differently each time"),
    "a random node": (edit_source(NOISE), "differently each time"),
    "two inputs": (edit_source(add_second_input), "one input"),
    "grey images": (edit_source(set_input(1, 1, CROP, CROP)), "channels"),
    "images that are no squares": (edit_source(set_input(1, 3, CROP, CROP + 2)), "squares"),
    "a row of pixels": (edit_source(set_input(1, 3072)), "expected images [N,3,"),
    "whole numbers": (edit_source(set_input(1, 3, CROP, CROP, kind=TensorProto.INT32)), "its input is int32"),
    "maps for an answer": (edit_source(answer_with_maps), "a row of two or more scores"),
    "one score": (edit_source(answer_with_one_score), "a row of two or more scores"),
    "a batch that cannot be made any": (
        edit_source(sum_along_rows, TinySource(batch=4, shape=(4, 196))),
        "its batch is fixed to 4: CumSum 'changed' takes no other; export it with a dynamic batch: "
        'torch.onnx.export(..., dynamic_shapes=({0: "batch"},)), or dynamic_axes={"picture": {0: "batch"}} with '
        "dynamo=False\n",
    ),
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
        cli.main()
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and printed.count("\n") == 1 and printed.startswith("tencrop: ") and message in printed
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
        (("--crop", "40"), "net.onnx: takes images of 32x32, and not of 40 pixels (--crop)"),
        (("--mean", ""), "--mean : expected three"),
        (("--std", ""), "--std : expected three"),
        (("--mean", "9" * 5000), "--mean 999"),
        (("--mean", "1e300"), "no float32 numbers"),
        (("--std", "1e-46"), "no float32 numbers"),
        (("--scale", "1e38"), "no float32 numbers"),
        (("--scale", "1e-300"), "no float32 numbers"),
        (("--crop", "100000"), "--crop 100000"),
        (("--resize", "30"), "smaller than the net's crop"),
        (("--layout", "nhwc"), "channels in layout nhwc"),
        (("--labels", "three.txt"), "names 3 classes, the net has 7"),
        (("--labels", "missing.txt"), "missing.txt"),
        (("--mean", "missing.binaryproto"), "missing.binaryproto"),
    ],
)
def test_bad_flag_is_one_line_and_nothing_is_written(
    flags: tuple[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("three.txt").write_text("a\nb\nc\n")
    TinySource().save(Path("net.onnx"))
    monkeypatch.setattr("sys.argv", ["tencrop", "import", "net.onnx", "out", *flags])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and printed.count("\n") == 1 and message in printed and len(printed) < 300
    assert not Path("out").exists()


def test_tencrop_onnx_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a tencrop\.onnx already"):
        import_net(EMBEDDED / "tencrop.onnx", tmp_path / "out", InputConvention(), None)


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a file"):
        import_net(TinySource().save(tmp_path / "net.onnx"), tmp_path / "net.onnx", InputConvention(), None)


@pytest.mark.parametrize("name", ["net.onnx", "tencrop.onnx"])
@pytest.mark.parametrize("through", ["mine", "link"])
def test_source_that_would_be_overwritten_is_refused_and_unchanged(name: str, through: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    source = TinySource().save(tmp_path / "mine" / name)
    before = source.read_bytes()
    with pytest.raises(BadInput, match="would be overwritten"):
        import_net(source, tmp_path / through, InputConvention(resize=RESIZE), None)
    assert source.read_bytes() == before and [path.name for path in (tmp_path / "mine").iterdir()] == [name]


@pytest.mark.slow
def test_full_disk_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, out = TinySource().save(tmp_path / "net.onnx"), tmp_path / "out"
    import_net(net, out, InputConvention(resize=RESIZE), None)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write, written = Path.write_bytes, []

    def fill(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space"):
        import_net(TinySource(seed=1).save(tmp_path / "other.onnx"), out, InputConvention(resize=RESIZE), None)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_net_of_one_image_runs_view_by_view(tmp_path: Path) -> None:
    source = edit_source(sum_along_rows)(tmp_path)
    made = import_net(source, tmp_path / "out", InputConvention(resize=RESIZE), None)
    assert any(
        note.startswith("the net runs view by view, one after the other: its batch") for note in made.recipe["notes"]
    )
    net = onnx.load(tmp_path / "out/net.onnx")
    assert "Scan" in {node.op_type for node in net.graph.node}
    assert describe_file(tmp_path / "out")["parameters"] > 4 * 3 * 25 + CLASSES * 196
    assert [(row["engine"], row["batch"]) for row in made.parity["compared"]] == [
        (engine, batch) for engine in ("onnxruntime", "openvino") for batch in (1, 2, 5)
    ]


def test_a_batch_that_is_any_by_the_file_and_one_by_its_nodes_is_freed(tmp_path: Path) -> None:
    """As torch writes it where a model reads the batch of its example into a shape; here with a weight of no use."""
    source = read_onnx(edit_source(list_unused_weight, TinySource(batch="N", shape=(1, 196)))(tmp_path))
    stated = read_source_input(source, InputConvention())
    pixels, _ = resolve_pixels(InputConvention(), "nchw", CROP)
    contract = Contract(resize=RESIZE, crop=CROP)
    reference = SourceReference.open(source, stated, pixels, contract)
    assert (stated.batch, reference.source_input.batch) == (0, 1)
    answers = reference.answer(make_formula_images(contract, 1))
    assert convert_to_net(reference, answers, "probabilities").notes == ()
