"""bench/photo_folder.py: the folder is a data set of the embedded model's classes, and its links lead to images."""

from pathlib import Path

from PIL import Image

from bench.photo_folder import CLASSES, write_photo_folder
from tencrop.dataset.layouts import open_source


def test_the_folder_is_a_data_set(tmp_path: Path) -> None:
    write_photo_folder(tmp_path / "photos", 25, 3)
    source = open_source(tmp_path / "photos")
    assert len(source.labels) == CLASSES and len(source.entries) == 25
    encoded = {source.read(entry) for entry in source.entries}
    assert len(encoded) == 3
    with Image.open(tmp_path / "photos" / source.entries[24].id) as image:
        assert (image.format, image.size) == ("JPEG", (500, 375))
