"""How often a model is wrong: the rates that a validation measures, over images and as means over classes."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT

VIEWS = {"center": "center crop", "ten_crop": "ten views"}  # the two kinds of prediction, in words

Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class ErrorRates:
    """Fractions that are wrong. An image without an answer is wrong in both."""

    top1_error: Fraction
    top5_error: Fraction


@dataclass(frozen=True, config=STRICT)
class ErrorsByViews:
    """The error rates by each kind of prediction."""

    center: ErrorRates  # of the center crop
    ten_crop: ErrorRates  # of the mean over the ten views
