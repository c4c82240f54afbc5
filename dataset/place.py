"""Place: the folder of a data set, what the user says about it, and the folders below."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tencrop.dataset.source import ProgressCallback
from tencrop.dataset.source_options import SourceOptions
from tencrop.dataset.walk import holds_images, list_subfolders

DEPTH = 3  # folders between DATA and a parquet file, as in data/default/train/0000.parquet


@dataclass(frozen=True)
class Place:
    """A folder, and how its images are to be listed."""

    root: Path
    options: SourceOptions
    progress: ProgressCallback
    training: bool

    @property
    def listing(self) -> tuple[Path | None, ProgressCallback, bool]:
        """The last arguments of most readers: the file of class names, the progress, whether training images count."""
        return self.options.names, self.progress, self.training

    @property
    def folders(self) -> list[Path]:
        """The folders below, DEPTH levels deep, that hold no image. What holds an image is not looked into."""
        return self._split_folders[0]

    @property
    def image_folders(self) -> list[Path]:
        """The folders below, DEPTH levels deep, that hold images: class folders."""
        return self._split_folders[1]

    @property
    def other_images(self) -> list[Path]:
        """The folders of images that no row of a table names."""
        return [] if self.options.image_root else self.image_folders

    @cached_property
    def _split_folders(self) -> tuple[list[Path], list[Path]]:
        return _split_folders(self.root, DEPTH)


def _split_folders(root: Path, depth: int) -> tuple[list[Path], list[Path]]:
    without, with_images = [], []
    for name in list_subfolders(root):
        if holds_images(root / name):
            with_images.append(root / name)
        else:
            deeper, deeper_with_images = _split_folders(root / name, depth - 1) if depth > 1 else ([], [])
            without += [root / name, *deeper]
            with_images += deeper_with_images
    return without, with_images
