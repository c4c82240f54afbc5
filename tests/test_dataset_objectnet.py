"""ObjectNet: folders with the classes of ImageNet by the mappings that its authors publish."""

from pathlib import Path

import pytest
from support.imagenet import make_objectnet

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label


@pytest.fixture
def objectnet(tmp_path: Path) -> Path:
    root = make_objectnet(
        tmp_path / "objectnet-1.0", dict.fromkeys(("alarm_clock/1.png", "banana/1.png", "tray/1.png"), (0, 0))
    )
    (root / "README").write_text("")
    return root


def test_a_folder_has_the_positions_of_its_classes_of_imagenet(objectnet: Path) -> None:
    source = open_source(objectnet)
    assert source.labels == (Label("409;530", "alarm clock"), Label("954", "banana"))
    assert [(entry.id, entry.label) for entry in source.entries] == [
        ("images/alarm_clock/1.png", 0),
        ("images/banana/1.png", 1),
    ]
    assert source.read(source.entries[1]) == (objectnet / "images/banana/1.png").read_bytes()


def test_folders_without_a_class_of_imagenet_are_told(objectnet: Path) -> None:
    inventory = open_source(objectnet).inventory
    assert inventory.groups["passed_over"].names == {"tray/": 1, "README": 1}
    assert inventory.seen == 4


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("folder_to_objectnet_label.json", None, r"folder_to_objectnet_label\.json: cannot be read \(No such file"),
        ("objectnet_to_imagenet_1k.json", "[]", r"mappings: damaged \(objectnet_to_imagenet_1k\.json is no object"),
        ("pytorch_to_imagenet_2012_id.json", "{", r"mappings: damaged \(Expecting"),
        ("imagenet_to_label_2012_v2", "banana\n", "mappings: has no 'analog clock'"),
    ],
)
def test_damaged_mappings_are_one_line(objectnet: Path, file: str, content: str | None, message: str) -> None:
    if content is None:
        (objectnet / "mappings" / file).unlink()
    else:
        (objectnet / "mappings" / file).write_text(content)
    with pytest.raises(BadInput, match=message):
        open_source(objectnet)


def test_class_names_of_ones_own_are_refused(objectnet: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"--labels: does not apply to .*objectnet-1\.0, whose mappings name the classes"
    ):
        open_source(objectnet, SourceOptions(names=tmp_path / "words.txt"))
