"""Finds how a .caffemodel expects its images: from the file, by Caffe's fixed rules, or as Caffe's AlexNets do."""

from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import InputConvention, format_numbers

CROP = 227  # of Caffe's AlexNets
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of the mean image that Caffe's scripts make of ILSVRC-2012
MEAN_LINE = f"the mean colour of ILSVRC-2012, BGR {format_numbers(MEAN)}"


def read_caffe_convention(
    path: Path, transform: Any | None, given: InputConvention
) -> tuple[InputConvention, tuple[str, ...]]:
    """Returns the convention and a line for each value that neither the user nor the file states.

    Caffe computes (pixel - mean) * scale. transform: of the first data layer that has one. A file without a data layer
    was made for deployment and states nothing about its pixels. Raises BadInput.
    """
    crop = given.crop or (transform.crop_size if transform else 0)
    scale = given.scale or (transform.scale if transform else 1.0)
    mean, guess = _read_mean(path, transform)
    lines = (
        (given.channels is None, "channels in the order BGR, as Caffe reads images (--channels)"),
        (transform is None and given.scale is None, "pixels times 1 (--scale)"),
        (guess and given.mean is None and given.mean_image is None, guess),
        (not crop, f"views of {CROP} pixels, as Caffe's AlexNets take them (--crop)"),
    )
    known = InputConvention(
        "bgr",
        "nchw",
        scale,
        tuple(value * scale for value in mean),
        (1.0,) * 3,
        crop=crop or CROP,
        filter="bilinear",
        center_rounding="down",
    )
    return known, tuple(line for is_assumed, line in lines if is_assumed)


def _read_mean(path: Path, transform: Any | None) -> tuple[tuple[float, ...], str]:
    """The mean in BGR on the 0..255 scale, and a line about it where it is a guess, else ""."""
    if transform is None:
        return MEAN, f"{MEAN_LINE} (--mean)"
    values = tuple(transform.mean_value)
    if len(values) not in (0, 1, 3):
        raise BadInput(f"{path}: its data layer has {len(values)} mean values; expected one for all channels, or three")
    if not values and transform.mean_file:
        name = transform.mean_file.decode(errors="replace").rsplit("/", 1)[-1][:100]
        return MEAN, f"{MEAN_LINE}; the file wants {name!r} (--mean)"
    return values * (3 // len(values)) if values else (0.0,) * 3, ""
