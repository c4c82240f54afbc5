"""EpochRecord: an epoch's row in metrics.csv, in TensorBoard and in the checkpoint's history."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """Measurements of one epoch. Field names and their order are stored: they are the columns of metrics.csv.

    Errors are fractions. The training errors are means over the epoch's batches, taken while the net changes.
    """

    epoch: int  # from 1
    lr: float  # rate of the weights, after the schedule's drops
    train_loss: float
    train_error: float  # top-1
    images_per_s: float  # validation and checkpoint left out
    center_top1_error: float  # of the validation images, by the center crop
    center_top5_error: float
    seconds: float  # validation included


@dataclass(frozen=True)
class TrainingPass:
    """Result of one pass over the training images: mean loss, top-1 error and speed."""

    loss: float
    error: float
    images_per_s: float
