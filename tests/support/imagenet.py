"""Small copies of ImageNet's test sets, and a model of 1,000 classes without a net."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tencrop.model.contract import Label
from tencrop.runtime.classifier import Classifier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "known_sets"
CLASSES = 1000
FIRST, SECOND = 0.6, 0.3  # probabilities of a picture's two classes


def read_wnids(name: str) -> list[str]:
    """The wnids of a test set, as its authors or users publish them."""
    return (FIXTURES / f"{name}.txt").read_text().split()


class ImageNetModel:
    """A model whose two most probable classes are those that a picture of `draw` names; its wnids are sorted."""

    def __init__(self, model: Classifier, wnids: Iterable[str] = ()) -> None:
        known = {*wnids}
        made_up = (f"n99{number:06d}" for number in range(CLASSES - len(known)))
        self.wnids = sorted({*known, *made_up})
        self.name, self.sha256, self.members = model.name, model.sha256, model.members
        self.contract = replace(model.contract, labels=tuple(Label(wnid, f"words of {wnid}") for wnid in self.wnids))
        self.engine, self.streams = model.engine, model.streams

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        red, green, blue = images[:, 128, 128].astype(int).T
        mean = np.full((len(images), CLASSES), (1 - FIRST - SECOND) / CLASSES, np.float32)
        rows = np.arange(len(images))
        mean[rows, green + 256 * (blue % 4)] += SECOND
        mean[rows, red + 256 * (blue // 4)] += FIRST
        return mean, np.repeat(mean[:, None], 10, 1)


def draw(path: Path, first: int, second: int) -> None:
    """Draw a picture for which the model's most probable classes are these two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (first % 256, second % 256, second // 256 + 4 * (first // 256))
    Image.new("RGB", (4, 4), colour).save(path, "PNG")


def draw_all(root: Path, pictures: Mapping[str, tuple[int, int]]) -> Path:
    """Draw pictures by their paths below `root`."""
    for path, classes in pictures.items():
        draw(root / path, *classes)
    return root


def make_objectnet(root: Path, pictures: Mapping[str, tuple[int, int]]) -> Path:
    """Draw pictures into the folders of ObjectNet, and write its mappings of three of them.

    One stands for the classes 409 and 530, one for 954, one for none. The file of names is in another order than the
    wnids.
    """
    files = {
        "folder_to_objectnet_label.json": {"alarm_clock": "Alarm clock", "banana": "Banana", "tray": "Tray"},
        "objectnet_to_imagenet_1k.json": {"Alarm clock": "analog clock; digital clock", "Banana": "banana"},
        "pytorch_to_imagenet_2012_id.json": {"409": 2, "530": 0, "954": 1},
    }
    draw_all(root / "images", pictures)
    (root / "mappings").mkdir()
    for name, content in files.items():
        (root / "mappings" / name).write_text(json.dumps(content))
    (root / "mappings/imagenet_to_label_2012_v2").write_text("digital clock\nbanana\nanalog clock\n")
    return root
