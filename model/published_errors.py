"""The errors that the 2012 nets reached, which a report prints beside its own."""

from typing import Literal

from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT


@dataclass(frozen=True, config=STRICT)
class PublishedError:
    """A row of the paper's tables or of a log of 2012."""

    data: str  # the images that the errors are of
    views: Literal["center", "ten_crop"]  # the center crop or all ten views
    top1: float  # top-1 error, percent
    top5: float  # top-5 error, percent
