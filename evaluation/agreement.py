"""Agreement: how many of the ten views say the answer by themselves, and how often such answers are wrong."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from tencrop.common.strict_config import STRICT, Natural

if TYPE_CHECKING:  # it needs pyarrow, which readers of summary.json may lack
    from tencrop.evaluation.record_queries import Predictions

MOST = 10  # views
GROUPS = ((10, 10), (8, 9), (5, 7), (0, 4))  # the least and the most views, for people


@dataclass(frozen=True, config=STRICT)
class AgreementErrors:
    """The images whose answer is the first label of exactly `views` views, and those of them whose answer is wrong."""

    views: Annotated[int, Field(ge=0, le=MOST)]
    images: Natural
    wrong: Natural


def count_by_agreement(ten_crop: "Predictions") -> tuple[AgreementErrors, ...]:
    """Count the images that have an answer for each agreement from 0 to MOST."""
    of, wrong = ten_crop.agreement[ten_crop.answered], ten_crop.agreement[ten_crop.answered & ~ten_crop.right]
    counts = zip(*(np.bincount(each, minlength=MOST + 1).tolist() for each in (of, wrong)), strict=True)
    return tuple(AgreementErrors(views, *count) for views, count in enumerate(counts))
