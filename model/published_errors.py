"""The errors that the 2012 nets reached, which a report prints beside its own."""

from typing import Literal

from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT


@dataclass(frozen=True, config=STRICT)
class PublishedError:
    """A row of the paper's tables or of a log of 2012. The errors are in percent."""

    data: str  # the images that the errors are of
    views: Literal["center", "ten_crop"]
    top1: float
    top5: float
