"""What a recipe's net reached in 2012, in percent; a report prints it beside what it got."""

from typing import Literal

from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT


@dataclass(frozen=True, config=STRICT)
class PublishedError:
    """One row of a table of theirs, or of a log."""

    data: str
    views: Literal["center", "ten_crop"]
    top1: float
    top5: float
