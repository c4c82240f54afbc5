"""A .caffemodel's pixels: what it tells of them, what Caffe always does, and what its AlexNets take where it does not tell."""

from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import InputConvention, format_numbers

CROP = 227  # of Caffe's AlexNets
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of the mean image that Caffe's scripts make of ILSVRC-2012
MEAN_LINE = f"the mean colour of ILSVRC-2012, BGR {format_numbers(MEAN)}"


def read_caffe_convention(
    path: Path, transform: Any | None, said: InputConvention
) -> tuple[InputConvention, tuple[str, ...]]:
    """What is known, and a line for each thing that neither the user nor the file says. Caffe takes (pixel - mean) * scale.

    transform: of the first data layer that has one; a file without it was made for deployment and tells nothing.
    Raises BadInput.
    """
    crop = said.crop or (transform.crop_size if transform else 0)
    scale = said.scale or (transform.scale if transform else 1.0)
    mean, guessed = _mean(path, transform)
    lines = (
        (said.channels is None, "channels in the order BGR, as Caffe reads images (--channels)"),
        (transform is None and said.scale is None, "pixels times 1 (--scale)"),
        (guessed and said.mean is None and said.mean_image is None, guessed),
        (not crop, f"views of {CROP} pixels, as Caffe's AlexNets take them (--crop)"),
    )
    known = InputConvention("bgr", "nchw", scale, tuple(value * scale for value in mean), (1.0,) * 3, crop=crop or CROP)
    return known, tuple(line for assumed, line in lines if assumed)


def _mean(path: Path, transform: Any | None) -> tuple[tuple[float, ...], str]:
    """BGR on the 0..255 scale, and the line that it takes where it is guessed."""
    if transform is None:
        return MEAN, f"{MEAN_LINE} (--mean)"
    values = tuple(transform.mean_value)
    if len(values) not in (0, 1, 3):
        raise BadInput(f"{path}: its data layer has {len(values)} mean values; expected one for all channels, or three")
    if not values and transform.mean_file:
        name = transform.mean_file.decode(errors="replace").rsplit("/", 1)[-1][:100]
        return MEAN, f"{MEAN_LINE}; the file wants {name!r} (--mean)"
    return values * (3 // len(values)) if values else (0.0,) * 3, ""
