"""dataset/split_from_path.py: names of files and folders that say to which split they belong."""

import pytest

from tencrop.dataset.split_from_path import held_split, split_of


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
def test_a_word_of_the_path_says_the_split(path: str, split: str) -> None:
    assert split_of(path) == split


def test_test_is_validated_on_only_without_validation() -> None:
    assert held_split(["train", "test", "validation"]) == "validation"
    assert held_split(["train", "test"]) == held_split(["train"]) == "test"
