"""real.json of ImageNet-ReaL: how it is read, and what else is refused."""

import json
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.real_labels import IMAGES, RealLabels, read_real_labels


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealLabels:
    """The first three images have two labels, none and one; so has the last."""
    file = tmp_path_factory.mktemp("real") / "real.json"
    file.write_text(json.dumps([[3, 1], [], [999], *([[0]] * (IMAGES - 4)), [7]]))
    return read_real_labels(file)


@pytest.mark.parametrize(
    ("id", "labels"),
    [
        ("ILSVRC2012_val_00000001.JPEG", (3, 1)),
        ("val/n01440764/ILSVRC2012_val_00000002.JPEG", ()),
        ("ILSVRC2012_val_00000003_n01440764.JPEG", (999,)),
        ("ILSVRC2012_val_00050000.JPEG", (7,)),
    ],
)
def test_labels_follow_the_number_in_an_images_name(real: RealLabels, id: str, labels: tuple[int, ...]) -> None:
    assert real.find(id) == labels


@pytest.mark.parametrize("id", ["n01440764/a.jpg", "ILSVRC2012_val_00000000.JPEG", "ILSVRC2012_val_00050001.JPEG"])
def test_other_images_are_refused(real: RealLabels, id: str) -> None:
    with pytest.raises(BadInput, match=f"--real-labels: {id} is no image ILSVRC2012_val_00000001 to 00050000"):
        real.find(id)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[1], ", r"real\.json: is not JSON"),
        ("{}", r"real\.json: is no list of 50000 lists"),
        ("[[1]]", r"real\.json: is no list of 50000 lists"),
        (json.dumps([[1]] * (IMAGES - 1) + [[1000]]), r"real\.json: image 50000 has \[1000\], no list of labels"),
        (json.dumps([3] + [[1]] * (IMAGES - 1)), r"real\.json: image 1 has 3, no list of labels"),
        (json.dumps([[True]] + [[1]] * (IMAGES - 1)), r"real\.json: image 1 has \[true\], no list of labels"),
    ],
    ids=["cut off", "object", "short", "label of no class", "number", "boolean"],
)
def test_another_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(BadInput, match=message):
        read_real_labels(tmp_path / "real.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"real\.json: cannot be read \(No such file"):
        read_real_labels(tmp_path / "real.json")
