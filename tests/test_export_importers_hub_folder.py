"""importers/hub_folder.py: a folder of Hugging Face's optimum is imported as its files state, and says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.tiny_source import CLASSES, CROP, RESIZE, TinySource

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.export.importers.hub_folder import read_hub_folder
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.run import import_net
from tencrop.model.contract import Label

NAMES = ("tench", "crane", "kit fox", "crane", "pop bottle", "drake", "hen")
CONFIG: dict[str, Any] = {"id2label": {str(number): name for number, name in enumerate(NAMES)}, "model_type": "resnet"}
PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": CROP, "width": CROP},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.25, 0.125],
    "image_std": [0.5, 0.5, 0.25],
    "image_processor_type": "BitImageProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": RESIZE},
}
STATED = InputConvention(
    "rgb", "nchw", 1 / 255, (0.5, 0.25, 0.125), (0.5, 0.5, 0.25), crop=CROP, resize=RESIZE, filter="bicubic"
)
TAKEN = "taken from preprocessor_config.json: channels rgb, scale 0.00392157, "


def write_folder(
    folder: Path, config: Any = CONFIG, preprocessor: Any = PREPROCESSOR, net: str = "model.onnx", place: str = ""
) -> Path:
    """Write a folder as optimum does: a net for any batch that returns logits, beside its two files."""
    (folder / net).parent.mkdir(parents=True, exist_ok=True)
    TinySource(batch="batch_size", shape=(-1, 196), end="logits").save(folder / net)
    for name, document in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        if document is not None:
            (folder / place / name).write_text(json.dumps(document))
    return folder


@pytest.mark.slow
def test_import_is_that_of_the_same_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "resnet")
    monkeypatch.setattr("sys.argv", ["tencrop", "import", str(folder), str(tmp_path / "a")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert lines[0] == f"imported: ONNX: {CLASSES} classes, logits; resize {RESIZE}, ten crops of {CROP}"
    assert lines[2:6] == [
        TAKEN + f"mean 0.5, 0.25, 0.125, std 0.5, 0.5, 0.25, crop {CROP}, resize {RESIZE}, filter bicubic",
        "taken from config.json: the names of the classes (id2label)",
        "assumed: the names of config.json as the ids of the classes (--labels)",
        "assumed: outputs that are logits, going by their sums (--output)",
    ]
    made = import_net(folder / "model.onnx", tmp_path / "b", STATED, folder / "config.json")
    assert made.contract.labels[:4] == (
        Label("tench", "tench"),
        Label("crane #1", "crane"),
        Label("kit fox", "kit fox"),
        Label("crane #3", "crane"),
    )
    assert (tmp_path / "a/net.onnx").read_bytes() == (tmp_path / "b/net.onnx").read_bytes()


def test_what_the_user_states_wins(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"n0000000{number} thing {number}\n" for number in range(CLASSES)))
    folder = write_folder(tmp_path / "resnet", config=CONFIG | {"label2id": {"broken": 1}})
    given = InputConvention(mean=(0.1,) * 3, resize=40)
    made = import_net(folder, tmp_path / "out", given, names)
    assert made.contract.labels[3] == Label("n00000003", "thing 3")
    assert made.contract.resize == 40 and made.recipe["pixels"]["mean"] == [0.1] * 3
    assert made.recipe["pixels"]["std"] == [0.5, 0.5, 0.25]
    assert made.recipe["notes"][0] == TAKEN + f"std 0.5, 0.5, 0.25, crop {CROP}, filter bicubic"
    assert not any("config.json: the names" in line for line in made.recipe["notes"])


@pytest.mark.parametrize("place", ["", "onnx"], ids=["files at the top", "files beside the net"])
def test_the_net_may_lie_in_a_folder_of_its_own(place: str, tmp_path: Path) -> None:
    source = read_hub_folder(
        write_folder(tmp_path / "vit", net="onnx/model.onnx", place=place), InputConvention(), None
    )
    assert source.path == tmp_path / "vit/onnx/model.onnx" and source.known == STATED
    assert source.labels == tmp_path / "vit" / place / "config.json"


def test_a_net_alone_is_an_onnx_file(tmp_path: Path) -> None:
    source = read_hub_folder(write_folder(tmp_path, config=None, preprocessor=None), InputConvention(), None)
    assert (source.known, source.labels, source.notes) == (InputConvention(), None, ())


@pytest.mark.parametrize("config", [{"depths": [3]}, {"id2label": None}], ids=["no key", "null"])
def test_a_config_without_names_numbers_the_classes(config: Any, tmp_path: Path) -> None:
    source = read_hub_folder(write_folder(tmp_path, config=config), InputConvention(), None)
    assert source.labels is None


def test_classes_that_do_not_exclude_each_other_are_told(tmp_path: Path) -> None:
    config = CONFIG | {"problem_type": "multi_label_classification"}
    notes = read_hub_folder(write_folder(tmp_path, config=config), InputConvention(), None).notes
    assert "unlike config.json: an image has one class here, and a softmax goes over all of them" in notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "holds neither model.onnx nor onnx/model.onnx; optimum-cli export onnx --model"),
        (
            ("onnx/model_fp16.onnx", "onnx/model_int8.onnx"),
            "but onnx/model_fp16.onnx, onnx/model_int8.onnx; name the file itself",
        ),
    ],
    ids=["no net", "other nets"],
)
def test_a_folder_without_the_net_is_one_line(files: tuple[str, ...], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(BadInput) as refused:
        import_net(tmp_path, tmp_path / "out", InputConvention(), None)
    assert message in str(refused.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "preprocessor", "message"),
    [
        (CONFIG, PREPROCESSOR | {"crop_size": 30}, "takes images of 32x32, and not of 30 pixels (--crop)"),
        ({"id2label": {"0": "ant"}}, PREPROCESSOR, "config.json: names 1 classes, the net has 7 outputs"),
        ([], PREPROCESSOR, "config.json: holds [], expected a JSON object"),
    ],
    ids=["another size", "another number of classes", "a damaged file"],
)
def test_files_that_do_not_fit_the_net_are_refused(
    config: Any, preprocessor: Any, message: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "net", config, preprocessor)
    with pytest.raises(BadInput) as refused:
        import_net(folder, tmp_path / "out", InputConvention(), None)
    assert message in str(refused.value) and not (tmp_path / "out").exists()
