"""`import tencrop`: answers like the command line and the server, and the import loads no runtime."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tencrop
from tencrop import cli
from tencrop.images.decode import decode
from tencrop.images.image_input import ImageInput
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.prediction import NoAnswer

FORMS: dict[str, Callable[[Path], ImageInput]] = {
    "text": str,
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "file": lambda path: path.open("rb"),
    "PIL image": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
}


@pytest.fixture(scope="module")
def opened() -> Classifier:
    return tencrop.load(device="cpu", precision="fp32")


def test_importing_tencrop_loads_no_runtime() -> None:
    program = "import sys, tencrop; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"torch", "onnxruntime", "openvino", "fastapi", "onnx", "numpy", "PIL", "pyarrow", "pydantic", "typer"}
    assert "tencrop" in done.stdout.split() and not heavy & set(done.stdout.split())


def test_every_public_name_is_there() -> None:
    assert all(hasattr(tencrop, name) for name in tencrop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        tencrop.predict  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_image_gives_the_same_prediction(
    form: str, opened: Classifier, classifier: Classifier, photographs: dict[str, Path]
) -> None:
    image = FORMS[form](photographs["china"])
    prediction = opened.predict(image)
    mean, views = classifier.forward(decode(photographs["china"].read_bytes(), classifier.contract)[0][None])
    np.testing.assert_array_equal(prediction.probabilities, mean[0])
    np.testing.assert_array_equal(prediction.view_probabilities, views[0])
    best = np.argsort(-mean[0], kind="stable")[:5].tolist()
    assert [guess.index for guess in prediction.top] == best
    assert [(guess.id, guess.label) for guess in prediction.top] == [
        (opened.labels[i].id, opened.labels[i].name) for i in best
    ]
    assert [guess.probability for guess in prediction.top] == [float(mean[0][i]) for i in best]
    assert prediction.agreement == sum(int(view.argmax()) == best[0] for view in views[0])
    assert prediction.label == prediction.top[0].label
    if hasattr(image, "close"):
        image.close()


def test_a_list_gives_a_list_in_its_order(opened: Classifier, photographs: dict[str, Path]) -> None:
    images: list[ImageInput] = [*photographs.values(), *photographs.values(), *photographs.values()]
    images.append(np.zeros((10, 20, 3), np.uint8))
    several = opened.predict(images, top=2)
    assert len(several) == 7 and all(len(prediction.top) == 2 for prediction in several)
    for image, prediction in zip(images, several, strict=True):
        np.testing.assert_allclose(prediction.probabilities, opened.predict(image).probabilities, rtol=0, atol=1e-6)
    assert opened.predict([]) == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1"])
def test_a_pil_image_of_any_mode_is_the_square_of_its_file(mode: str, opened: Classifier) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (300, 280, 3), np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(random.integers(0, 65536, (300, 280), np.uint16))
    packed = io.BytesIO()
    picture.convert(mode).save(packed, "JPEG" if mode == "CMYK" else "PNG")
    want = tencrop.decode(packed.getvalue(), opened.contract)
    np.testing.assert_array_equal(tencrop.decode(Image.open(packed), opened.contract), want)


def test_a_pil_image_is_turned_upright_and_left_as_it_was(opened: Classifier) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    packed = io.BytesIO()
    picture.save(packed, "PNG", exif=exif)
    image = Image.open(packed)
    np.testing.assert_array_equal(
        tencrop.decode(image, opened.contract), tencrop.decode(packed.getvalue(), opened.contract)
    )
    assert image.size == (400, 300) and image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("missing.jpg", "missing.jpg: No such file or directory"),
        (Path(__file__), r"test_api.py: not an image of a known format"),
        (b"", "the image is empty"),
        ("a\0b.jpg", "no path"),
        (Image.new("RGB", (0, 0)), "image of 0x0 pixels"),
        (io.BytesIO(b"\xff\xd8\xff"), "damaged image"),
        (None, "NoneType is no image: give a path"),
        (io.StringIO("text"), "StringIO is no image: it reads as text; open the file with mode 'rb'"),
        (np.zeros((4, 4)), r"array of float64 \[4, 4\] is no image: expected uint8 \[H,W,3\]"),
        (np.zeros((0, 4, 3), np.uint8), "is no image"),
        (Image.new("RGB", (1, 101)), "longer than 100:1"),
    ],
)
def test_input_that_is_not_an_image_is_a_tencrop_error_of_one_line(
    image: Any, message: str, opened: Classifier
) -> None:
    with pytest.raises(tencrop.TencropError, match=message) as raised:
        opened.predict(image)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_as_bytes_says_how_to_open_it(
    opened: Classifier, photographs: dict[str, Path], tmp_path: Path
) -> None:
    closed = photographs["china"].open("rb")
    closed.close()
    with photographs["china"].open() as text, (tmp_path / "new").open("wb") as written:
        for file in (text, written, closed):
            with pytest.raises(tencrop.TencropError, match=r"the file cannot be read.*open it with mode 'rb'"):
                opened.predict(file)  # type: ignore[arg-type]
    with photographs["china"].open("rb") as spent:
        spent.read()
        with pytest.raises(tencrop.TencropError, match="the image is empty"):
            opened.predict(spent)


def test_an_error_in_a_list_names_the_image(opened: Classifier, photographs: dict[str, Path]) -> None:
    data = photographs["china"].read_bytes()
    with pytest.raises(tencrop.TencropError, match="image 5: not an image of a known format"):
        opened.predict([data] * 5 + [b"words"])


def test_a_pil_image_whose_file_is_closed_is_an_error(opened: Classifier, photographs: dict[str, Path]) -> None:
    with Image.open(photographs["china"]) as image:
        pass
    with pytest.raises(tencrop.TencropError, match="image"):
        opened.predict(image)


def test_bytes_of_any_kind_are_bytes(opened: Classifier, photographs: dict[str, Path]) -> None:
    data = photographs["china"].read_bytes()
    want = tencrop.decode(data, opened.contract)
    for form in (bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(tencrop.decode(form, opened.contract), want)


def test_decode_takes_a_contract(opened: Classifier, photographs: dict[str, Path]) -> None:
    with pytest.raises(tencrop.TencropError, match="Classifier is no contract; give a classifier's `contract`"):
        tencrop.decode(photographs["china"], opened)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 256, 256, 3)), np.zeros((256, 256, 3), np.uint8), np.zeros((0, 256, 256, 3), np.uint8)]
)
def test_forward_takes_a_batch_of_squares(batch: np.ndarray, opened: Classifier) -> None:
    with pytest.raises(tencrop.TencropError, match=r"expected uint8 \[N,256,256,3\]"):
        opened.forward(batch)


@pytest.mark.parametrize("model", ["", False, 0])
def test_only_none_is_the_embedded_model(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((tencrop.TencropError, TypeError)):
        tencrop.load(model)


def test_a_forked_child_is_told_that_openvino_does_not_survive(opened: Classifier) -> None:
    program = """
import os, sys, tencrop
with tencrop.load(device="cpu", engine="openvino"):
    pass
child = os.fork()
if child == 0:
    try:
        tencrop.load(device="cpu", engine="openvino")
    except tencrop.TencropError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "OpenVINO does not survive a fork; start processes by spawn or forkserver\n"


def test_a_notebook_completes_every_public_name() -> None:
    assert set(tencrop.__all__) <= set(dir(tencrop))


def test_a_truncated_pil_image_is_damaged(opened: Classifier, photographs: dict[str, Path]) -> None:
    half = photographs["china"].read_bytes()[:20000]
    with pytest.raises(tencrop.TencropError, match="damaged image"):
        opened.predict(Image.open(io.BytesIO(half)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "missing"}, "missing"),
        ({"model": __file__}, "not an ONNX file"),
        ({"device": "tpu"}, "device tpu: expected auto, cpu, cuda or cuda:N"),
        ({"engine": "torch"}, "engine torch: expected"),
        ({"precision": "int8"}, "precision int8: expected"),
        ({"streams": 0}, "streams 0: expected at least 1"),
    ],
)
def test_load_refuses_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tencrop.TencropError, match=message) as raised:
        tencrop.load(**arguments)
    assert "\n" not in str(raised.value)


def test_top_is_at_least_1_and_at_most_the_classes(opened: Classifier, photographs: dict[str, Path]) -> None:
    assert len(opened.predict(photographs["china"], top=1000).top) == len(opened.labels)
    with pytest.raises(tencrop.TencropError, match="top is 0"):
        opened.predict(photographs["china"], top=0)
    with pytest.raises(TypeError, match="integer"):
        opened.predict(photographs["china"], top=2.5)  # type: ignore[call-overload]


@pytest.mark.slow
def test_threads_share_a_classifier(opened: Classifier, photographs: dict[str, Path]) -> None:
    want = {path: opened.predict(path).probabilities for path in photographs.values()}
    wrong: list[Path] = []

    def ask(path: Path) -> None:
        answers = [opened.predict(path).probabilities for _ in range(5)]
        wrong.extend(path for answer in answers if not np.array_equal(answer, want[path]))

    threads = [threading.Thread(target=ask, args=(path,)) for path in [*photographs.values()] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def labelled(photographs: dict[str, Path], tmp_path: Path) -> Path:
    """Three photographs of two classes and a file that is no image."""
    for number, (folder, name) in enumerate([("pagoda", "china"), ("pagoda", "flower"), ("sunflower", "flower")]):
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / folder / f"{number}.jpg").write_bytes(photographs[name].read_bytes())
    (tmp_path / "data" / "pagoda" / "9.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path / "data"


def test_evaluate_is_the_command_evaluate(
    labelled: Path, opened: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    summary = tencrop.evaluate(
        labelled, opened, out=tmp_path / "ours", progress=lambda done, total: seen.append((done, total))
    )
    arguments = [
        "evaluate",
        str(labelled),
        "--out",
        str(tmp_path / "command"),
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]
    monkeypatch.setattr("sys.argv", ["tencrop", *arguments])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    for name in ("summary.json", "predictions.parquet"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    assert (summary.n, summary.undecodable, seen[-1]) == (4, 1, (4, 4))
    assert summary.to_json() == json.loads((tmp_path / "ours" / "summary.json").read_text())
    opened.predict(np.zeros((8, 8, 3), np.uint8))  # still open


def test_evaluate_opens_the_embedded_model_and_keeps_nothing(labelled: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    summary = tencrop.evaluate(str(labelled), limit=2)
    assert (summary.n, summary.available, summary.model.name) == (2, 4, "caltech101")
    assert sorted(tmp_path.rglob("*")) == before
    assert tencrop.evaluate(labelled, EMBEDDED, holdout=np.float32(0.5)).n == 2  # type: ignore[arg-type]


def test_evaluate_resumes_a_run(labelled: Path, opened: Classifier, tmp_path: Path) -> None:
    first = tencrop.evaluate(labelled, opened, out=tmp_path / "run")
    with pytest.raises(tencrop.TencropError, match="holds a run already"):
        tencrop.evaluate(labelled, opened, out=tmp_path / "run")
    assert tencrop.evaluate(labelled, opened, out=tmp_path / "run", resume=True) == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"holdout": 2}, "holdout is 2"), ({"holdout": -0.1}, "holdout is -0.1"), ({"limit": 0}, "limit is 0")],
)
def test_evaluate_refuses_what_is_out_of_range(arguments: dict[str, Any], message: str, labelled: Path) -> None:
    with pytest.raises(tencrop.TencropError, match=message):
        tencrop.evaluate(labelled, **arguments)


def test_evaluate_refuses_a_missing_data_set(tmp_path: Path) -> None:
    with pytest.raises(tencrop.TencropError, match="no such folder"):
        tencrop.evaluate(tmp_path / "missing")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_closed_classifier_says_so(engine: str, photographs: dict[str, Path]) -> None:
    with tencrop.load(EMBEDDED / "tencrop.onnx", device="cpu", engine=engine) as opened:
        assert opened.engine.name == engine
        opened.predict(photographs["china"])
    opened.close()
    assert repr(opened) == "<Classifier caltech101: 101 classes, closed>"
    with pytest.raises(tencrop.TencropError, match="caltech101: this classifier is closed"):
        opened.predict(photographs["china"])


def test_an_answer_that_is_not_a_number_is_an_error(
    opened: Classifier, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full((1, 101), np.nan, np.float32), np.full((1, 10, 101), np.nan, np.float32)
    monkeypatch.setattr(Classifier, "forward", lambda *_: nothing)
    with pytest.raises(NoAnswer, match="no number"):
        opened.predict(photographs["china"])


def test_a_notebook_shows_labels_escaped_beside_bars(opened: Classifier, photographs: dict[str, Path]) -> None:
    prediction = opened.predict(photographs["flower"])
    prediction.top[0] = tencrop.Guess(0, "x", "<script>", 0.5)
    html = prediction._repr_html_()
    assert html.count("<tr>") == 5 and "&lt;script&gt;" in html and "<script>" not in html and "50.0%" in html
    assert repr(prediction).startswith("<Prediction <script> 50.0%, ") and len(repr(prediction)) < 200
    assert repr(opened) == "<Classifier caltech101: 101 classes, openvino on cpu in fp32>"


def test_the_command_line_answers_the_same(
    opened: Classifier,
    photographs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["tencrop", "predict", str(photographs["china"]), "--json", "--device", "cpu", "--precision", "fp32"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    printed = json.loads(capsys.readouterr().out)
    want = opened.predict(photographs["china"]).top
    wanted = [{**vars(guess), "index": None} for guess in want]
    assert [{"index": None, "confidence": None, **guess} for guess in printed["top"]] == wanted
