"""Opens the data set of a command."""

from pathlib import Path
from typing import TYPE_CHECKING

from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.progress_bar import progress_bar
from tencrop.runtime.allocator import give_back_large_blocks

if TYPE_CHECKING:
    from tencrop.dataset.source import Source
    from tencrop.dataset.source_options import SourceOptions


def open_source(data: Path, options: "SourceOptions", training: bool = True) -> "Source":
    """Open a data set in any layout, and show how many images are listed."""
    from tencrop.dataset import layouts

    silence_libtiff()
    give_back_large_blocks()
    with progress_bar("listing", None) as progress:
        return layouts.open_source(data, options, progress, training)
