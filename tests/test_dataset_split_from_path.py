"""dataset/split_from_path.py: names of files and folders that give a split."""

import pytest

from tencrop.dataset.split_from_path import choose_held_split, infer_split


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00014.parquet", "train"),
        ("data/validation-00000-of-00014.parquet", "validation"),
        ("default/validation/0000.parquet", "validation"),
        ("test/0000.parquet", "test"),
        ("imagenet1k-validation-00.tar", "validation"),
        ("VAL_003.tar", "validation"),
        ("validation/train-0.parquet", "train"),  # the file's own name before the folder's
        ("shard-000123.tar", "train"),
        ("trainer.tar", "train"),
        ("valley.tar", "train"),
        ("testimony/latest.tar", "train"),
    ],
)
def test_a_word_of_the_path_gives_the_split(path: str, split: str) -> None:
    assert infer_split(path) == split


def test_a_test_split_is_used_only_without_a_validation_split() -> None:
    assert choose_held_split(["train", "test", "validation"]) == "validation"
    assert choose_held_split(["train", "test"]) == choose_held_split(["train"]) == "test"
