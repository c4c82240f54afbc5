"""export/sample_images.py: photographs come from the whole folder, and other files are left out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tencrop.common.errors import BadInput
from tencrop.export.sample_images import load_photographs, make_formula_images
from tencrop.model.contract import Contract

CONTRACT = Contract(resize=32, crop=24)


def test_photographs_are_spread_over_the_folders(tmp_path: Path) -> None:
    for label in range(4):
        (tmp_path / f"class{label}").mkdir()
        for number in range(5):
            Image.new("L", (40, 32), 10 * label + number).save(tmp_path / f"class{label}" / f"{number}.png")
    assert load_photographs(tmp_path, CONTRACT, 4)[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert load_photographs(tmp_path, CONTRACT, 14)[-1, 0, 0, 0] == 33  # from the last folder, too
    assert load_photographs(tmp_path, CONTRACT, 100).shape == (20, 32, 32, 3)


def test_files_that_are_not_images_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    (tmp_path / "a.jpg").write_text("no image either")
    Image.new("RGB", (32, 32)).save(tmp_path / "images.tar", "PNG")  # left out by its name
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "b.png")
    assert load_photographs(tmp_path, CONTRACT, 5)[:, 0, 0].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("folder", ["", "not there"])
def test_folder_without_an_image_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no image there|cannot be listed"):
        load_photographs(tmp_path / folder, CONTRACT, 5)


def test_formula_images_differ() -> None:
    images = make_formula_images(Contract(), 3)
    assert images.shape == (3, 256, 256, 3) and images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 3
