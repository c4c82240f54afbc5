"""Contract: how a photograph becomes the net's ten inputs, and which label belongs to each output.

Stored with the weights.
"""

import hashlib
import json
from collections import Counter
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic.dataclasses import dataclass

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, dump, left_out

CENTER_VIEW = 2  # index of the center crop among the ten views

Filter = Literal["bilinear", "bicubic"]
Rounding = Literal["down", "half_even"]
FILTERS: tuple[Filter, ...] = get_args(Filter)


class View(NamedTuple):
    """A square crop of the resized image: its corner in pixels, and whether the crop is mirrored."""

    top: int
    left: int
    mirrored: bool


@dataclass(frozen=True, config=STRICT)
class Label:
    """One class. `id` is the WordNet id or the folder's name, `name` the words for a person."""

    id: str
    name: str


@dataclass(frozen=True, config=STRICT)
class Decoding:
    """The way in which encoded images become pixels, where a decoder has a choice.

    jpeg_scale_from: a JPEG whose shorter side has so many pixels or more is decoded at the smallest of 1/2, 1/4 and 1/8
    of its size that leaves its shorter side at least twice the contract's `resize`; None: every JPEG in full.
    icc_profile: "srgb": the square of an RGB image with a colour profile is converted to sRGB; None: profiles are
    ignored, as torchvision ignores them. None is left out of the stored contract and of its hash.
    """

    jpeg_scale_from: Count | None = None
    icc_profile: Annotated[Literal["srgb"] | None, left_out(None)] = None


FULL_DECODING = Decoding()  # of contracts that do not name any: those of files from before 0.2
DECODING = Decoding(jpeg_scale_from=1024, icc_profile="srgb")  # of contracts made today


@dataclass(frozen=True, config=STRICT)
class Contract:
    """Preprocessing, views and labels of one classifier (sections 2 and 4.1 of the paper).

    center_rounding: where half the margin around the center crop is no whole number, "down" is the 2012 program's way.
    "half_even" is torchvision's, which rounds the mirror image's center crop by itself. "down" and a decoding in full
    are left out of the stored contract and of its hash, as in files from before.
    Raises BadInput where two labels have the same id.
    """

    resize: int = 256  # length of the shorter side; then the central square of this size
    crop: int = 224
    filter: Filter = "bilinear"  # of the resizing: antialiased, Pillow's
    channels: Literal["rgb"] = "rgb"
    labels: tuple[Label, ...] = ()
    decode: Annotated[Decoding, left_out(FULL_DECODING)] = FULL_DECODING
    center_rounding: Annotated[Rounding, left_out("down")] = "down"

    def __post_init__(self) -> None:
        twice = [id for id, times in Counter(label.id for label in self.labels).items() if times > 1]
        if twice:
            raise BadInput(f"two classes have the id {twice[0]!r}", "rename one")

    @property
    def views(self) -> tuple[View, ...]:
        """The ten views in the order of the 2012 program: five crops, then the same five mirrored."""
        far = self.resize - self.crop
        rounds_down = self.center_rounding == "down"
        mid = far // 2 if rounds_down else round(far / 2)
        return tuple(
            View(top, left, mirrored)
            for mirrored, column in ((False, mid), (True, mid if rounds_down else far - mid))
            for top, left in ((0, 0), (0, far), (mid, column), (far, 0), (far, far))
        )

    @property
    def sha256(self) -> str:
        """The hash that a report quotes. Reports with equal hashes are about the same preprocessing and labels."""
        text = json.dumps(dump(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_filter(name: str) -> Filter:
    """The filter of that name. Raises BadInput."""
    for known in FILTERS:
        if name == known:
            return known
    raise BadInput(f"--filter {name}: expected {' or '.join(FILTERS)}", did_you_mean(name, FILTERS))
