"""Which published test set of ImageNet a data set is."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.imagenet import read_wnids

from tencrop.dataset.account import Inventory
from tencrop.dataset.folder import Folder
from tencrop.dataset.known_sets import KNOWN_SETS, recognize
from tencrop.dataset.source import Entries, Entry, ignore_progress
from tencrop.model.contract import Label

WNIDS = [f"n{number:08d}" for number in range(1000)]
NUMBERS = [str(number) for number in range(1000)]


def make_source(root: str, ids: Sequence[str], image: str = "a.jpg") -> Folder:
    entries = [Entry(f"{id}/{image}", label) for label, id in enumerate(ids)]
    labels = tuple(Label(id, id) for id in ids)
    return Folder(Path(root), labels, Entries.collect(Path(root), entries, ignore_progress), Inventory())


@pytest.mark.parametrize("name", ["ImageNet-A", "ImageNet-R", "Imagenette", "ImageNet-100"])
def test_a_part_of_imagenets_classes_is_known_by_its_wnids(name: str) -> None:
    wnids = read_wnids(name.lower())
    found = recognize(make_source("photos", wnids))
    assert found and found.name == name
    assert recognize(make_source("photos", wnids[::-1])) == found
    assert recognize(make_source("photos", wnids[1:])) is None
    assert recognize(make_source("photos", [*wnids[1:], "n99999999"])) is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("imagenetv2-matched-frequency-format-val", "ImageNet-V2 matched-frequency"),
        ("ImageNetV2-threshold0.7-format-val", "ImageNet-V2 threshold-0.7"),
        ("imagenetv2-top-images-format-val", "ImageNet-V2 top-images"),
        ("v2", "ImageNet-V2"),
    ],
)
def test_imagenet_v2_is_known_by_its_folders_and_its_kind_by_the_folders_name(folder: str, name: str) -> None:
    found = recognize(make_source(folder, sorted(NUMBERS)))
    assert found and found.name == name and found.is_numbered
    assert recognize(make_source(folder, NUMBERS[:10])) is None


def test_imagenet_sketch_is_known_by_its_images() -> None:
    found = recognize(make_source("photos", WNIDS, "sketch_0.JPEG"))
    assert found and found.name == "ImageNet-Sketch"
    assert recognize(make_source("photos", WNIDS, "ILSVRC2012_val_00000001.JPEG")) is None
    assert recognize(make_source("photos", WNIDS[:10], "sketch_0.JPEG")) is None
    assert recognize(make_source("photos", [*NUMBERS[:999], "ant"], "sketch_0.JPEG")) is None


def test_errors_to_expect_name_their_source() -> None:
    expected = {known.name: [error.top1 for error in known.expect] for known in KNOWN_SETS}
    accuracies = {"ImageNet-A": 1.7733, "ImageNet-R": 21.7733, "ImageNet-Sketch": 10.7194, "ObjectNet": 13.8598}
    kinds = {"matched-frequency": 43.43, "threshold-0.7": 51.08, "top-images": 57.90}
    accuracies |= {f"ImageNet-V2 {kind}": accuracy for kind, accuracy in kinds.items()}
    for name, found in expected.items():
        assert found == pytest.approx([100 - accuracies[name]] if name in accuracies else [], abs=0.005)
    assert {error.source for known in KNOWN_SETS for error in known.expect} == {
        "https://github.com/modestyachts/imagenet-testbed/blob/28477dc7912df34bed05ccdb4da963dbb91dd1b4/"
        "robustness_top1s.csv"
    }
