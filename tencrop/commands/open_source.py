"""Opens the data set of a command."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tencrop.commands.progress import show_progress
from tencrop.images.heif_open import decode_in_one_thread
from tencrop.images.pillow_warnings import silence_libtiff
from tencrop.runtime.allocator import give_back_large_blocks

if TYPE_CHECKING:
    from tencrop.dataset.source import Source
    from tencrop.dataset.source_options import SourceOptions

log = logging.getLogger(__name__)


def open_source(data: Path, options: "SourceOptions", training: bool = True) -> "Source":
    """Open a data set in any layout, and show how many images are listed."""
    from tencrop.dataset import layouts

    silence_libtiff()
    decode_in_one_thread()
    give_back_large_blocks()
    with show_progress("listing", None) as progress:
        source = layouts.open_source(data, options, progress, training)
    log.debug("%s: %d images of %d classes", data, len(source.entries), len(source.labels))
    return source
