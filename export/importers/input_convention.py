"""InputConvention: how a net expects its images, given by flags or implied by the kind of file."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite
from os.path import isfile
from pathlib import Path

import numpy as np

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.export.importers.caffe_file import read_mean_image
from tencrop.model.contract import FILTERS, Rounding

CHANNELS, LAYOUTS, OUTPUTS = ("rgb", "bgr"), ("nchw", "nhwc"), ("logits", "probabilities")
SIDES = range(16, 2049)  # pixels of a crop or a resized image
MAX_SHOWN = 100  # letters of a flag's value that a message shows
ARITHMETIC = ("scale", "mean", "std", "mean_image")  # fields of the arithmetic on pixels


@dataclass(frozen=True)
class InputConvention:
    """The net sees (pixel * scale - mean) / std. mean and std are in the net's order of channels. None: not known."""

    channels: str | None = None
    layout: str | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mean_image: np.ndarray | None = None  # float32 [3,S,S] on the 0..255 scale, BGR, as Caffe writes it
    crop: int | None = None
    resize: int | None = None
    filter: str | None = None  # of the resizing, one of the contract's
    center_rounding: Rounding | None = None  # of the contract; no flag states it
    output: str | None = None  # logits, probabilities or an output's name

    @property
    def lacks_arithmetic(self) -> bool:
        """Return whether nothing is known about the arithmetic on pixels."""
        return all(getattr(self, name) is None for name in ARITHMETIC)

    def fill_from(self, known: "InputConvention") -> "InputConvention":
        """Fill the fields that are None from `known`, whose mean and std are turned to this order of channels."""
        if None not in (self.channels, known.channels) and self.channels != known.channels:
            known = replace(known, mean=known.mean and known.mean[::-1], std=known.std and known.std[::-1])
        if self.mean_image is not None:
            known = replace(known, mean=None)
        missing = {f.name: getattr(known, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **missing)

    def check(self) -> None:
        """Check the values. Raises BadInput for a word that is unknown or a number that is out of range."""
        for flag, known in (("channels", CHANNELS), ("layout", LAYOUTS), ("filter", FILTERS)):
            if (value := getattr(self, flag)) not in (None, *known):
                raise BadInput(f"--{flag} {value}: expected {' or '.join(known)}", did_you_mean(value, known))
        for flag in ("crop", "resize"):
            if getattr(self, flag) is not None and getattr(self, flag) not in SIDES:
                raise BadInput(f"--{flag} {getattr(self, flag)}: expected {SIDES[0]} to {SIDES[-1]} pixels")
        if self.scale is not None and not (isfinite(self.scale) and self.scale > 0):
            raise BadInput(f"--scale {self.scale}: expected a number above 0, as 1 or 0.00392157")
        if self.std and min(self.std) <= 0:
            raise BadInput(f"--std {','.join(map(str, self.std))}: expected numbers above 0")


def parse_input_convention(mean: str | None, std: str | None, **flags: str | float | int | None) -> InputConvention:
    """Parse the flags of the command line; `mean` may name a Caffe .binaryproto. Raises BadInput."""
    image = read_mean_image(Path(mean)) if mean and (mean.endswith(".binaryproto") or isfile(mean)) else None
    return InputConvention(
        mean=parse_channel_values("mean", mean) if mean is not None and image is None else None,
        mean_image=image,
        std=parse_channel_values("std", std) if std is not None else None,
        **flags,  # type: ignore[arg-type]
    )


def parse_channel_values(flag: str, text: str) -> tuple[float, ...]:
    """Parse "0.485,0.456,0.406", or one number for all channels, to three floats. Raises BadInput."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(map(isfinite, numbers)):
        raise BadInput(
            f"--{flag} {text[:MAX_SHOWN]}: expected three numbers with commas between them, "
            "one a channel, in the net's order of channels"
        )
    return numbers * (3 // len(numbers))


def format_numbers(values: Sequence[float]) -> str:
    """Numbers for a person: "0.485, 0.456"."""
    return ", ".join(f"{value:g}" for value in values)
