"""KnownError: the error of a net on a published test set, as others measured it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownError:
    """The top-1 error of a net that others measured, in percent."""

    net: str
    views: str  # "center"
    top1: float
    source: str  # URL
