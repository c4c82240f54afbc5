"""Epoch records for the tests of schedules and run folders, which read only some of their fields."""

from tencrop.model.run_progress import EpochRecord


def make_record(
    epoch: int = 1, train_error: float = 0.5, center_top1_error: float = 0.5, center_top5_error: float = 0.25
) -> EpochRecord:
    """Fill the other fields with values that nothing may depend on."""
    return EpochRecord(epoch, 0.01, 2.5, train_error, 100.0, center_top1_error, center_top5_error, 60.0)
