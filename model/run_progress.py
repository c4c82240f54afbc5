"""RunProgress: how far a training is, as its checkpoints store it. Names of fields are stored."""

from dataclasses import field
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Finite, Natural, NotNegative, Share, parse


@dataclass(frozen=True, config=STRICT)
class EpochRecord:
    """Measurements of one epoch: a row of metrics.csv, of TensorBoard and of a checkpoint's history.

    The fields are the columns of metrics.csv, in their order. Errors are fractions. The training errors are means over
    the epoch's batches, taken while the net changes.
    """

    epoch: Count  # from 1
    lr: NotNegative  # rate of the weights, after the schedule's drops
    train_loss: Finite
    train_error: NotNegative  # top-1
    images_per_s: NotNegative  # validation and checkpoint left out
    center_top1_error: Share  # of the validation images, by the center crop
    center_top5_error: Share
    seconds: NotNegative  # validation included


@dataclass(frozen=True, config=STRICT)
class EpochProgress:
    """Position in the current epoch, with sums over its batches so far."""

    steps: Natural
    loss: Finite  # sum of the batches' mean losses
    wrong: NotNegative  # wrong top-1 guesses
    seconds: NotNegative


EPOCH_START = EpochProgress(steps=0, loss=0.0, wrong=0.0, seconds=0.0)


@dataclass(frozen=True, config=STRICT)
class LossScale:
    """State of torch's GradScaler, by the names of its `state_dict`. It holds the scale in float32, counts in int32."""

    scale: Annotated[float, Field(ge=2.0**-126, lt=2.0**128)]
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Annotated[int, Field(ge=1, lt=2**31)]
    growth_tracker: Annotated[int, Field(ge=0, lt=2**31, alias="_growth_tracker")]


@dataclass(frozen=True, config=STRICT)
class RunProgress:
    """The progress of a run at a checkpoint. A checkpoint that only predicts has none.

    Raises BadInput where the history's epochs are not 1, 2, 3 and so on, or the scaler's state is damaged.
    """

    history: tuple[EpochRecord, ...] = ()
    scaler: dict[str, Any] = field(default_factory=dict)  # a LossScale; empty where the precision is not fp16
    sessions: tuple[dict[str, Any], ...] = ()  # training/session_record.py
    part: EpochProgress = EPOCH_START

    def __post_init__(self) -> None:
        for number, record in enumerate(self.history, 1):
            if record.epoch != number:
                raise BadInput(f"history: row {number} is of epoch {record.epoch}")
        if self.scaler:
            parse(LossScale, self.scaler, "scaler")
