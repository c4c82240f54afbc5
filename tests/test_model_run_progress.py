"""model/run_progress.py: the names and the order of a record's fields are those of stored files."""

from dataclasses import asdict

import pytest
from support.epoch_records import make_record
from torch.amp import GradScaler

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import parse
from tencrop.model.run_progress import RunProgress

STORED = "epoch,lr,train_loss,train_error,images_per_s,center_top1_error,center_top5_error,seconds"


def test_a_record_has_the_columns_of_metrics_csv_in_their_order() -> None:
    assert ",".join(asdict(make_record())) == STORED


@pytest.mark.parametrize("epochs", [[2], [1, 3], [1, 1], [2, 1]], ids=str)
def test_the_epochs_of_a_history_are_1_2_3(epochs: list[int]) -> None:
    rows = [asdict(make_record(epoch)) for epoch in epochs]
    with pytest.raises(BadInput, match=r"^x: history: row \d is of epoch \d$"):
        parse(RunProgress, {"history": rows}, "x")


def test_a_damaged_loss_scale_names_its_field() -> None:
    state = GradScaler("cpu").state_dict()
    assert parse(RunProgress, {"scaler": state}, "x").scaler == state
    with pytest.raises(BadInput, match=r"^x: scaler: backoff_factor: "):
        parse(RunProgress, {"scaler": state | {"backoff_factor": 1.5}}, "x")


def test_a_checkpoint_that_only_predicts_has_no_progress() -> None:
    assert parse(RunProgress, {}, "x") == RunProgress()
