"""training/epoch_record.py: the names and the order of a record's fields are those of stored files."""

from dataclasses import asdict

from support.epoch_records import make_record

STORED = "epoch,lr,train_loss,train_error,images_per_s,center_top1_error,center_top5_error,seconds"


def test_a_record_has_the_columns_of_metrics_csv_in_their_order() -> None:
    assert ",".join(asdict(make_record())) == STORED
