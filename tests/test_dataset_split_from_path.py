"""dataset/split_from_path.py: names of files and folders that give a split."""

from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.split_from_path import WORDS, choose_held_split, infer_splits

ROOT = Path("imagenet-test")  # its own name gives no split


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00014.parquet", "train"),
        ("data/train-00000-of-00014-a43b2dev9.parquet", "train"),  # a hash
        ("data/validation-00000-of-00014.parquet", "validation"),
        ("default/validation/0000.parquet", "validation"),
        ("default/partial-train/0000.parquet", "train"),
        ("test/0000.parquet", "test"),
        ("imagenet1k-validation-00.tar", "validation"),
        ("VAL_003.tar", "validation"),
        ("cifar10test.parquet", "test"),
        ("val2014.tar", "validation"),
        ("2014 Dev Set.tar", "validation"),
        ("photos.eval.tar", "validation"),
        ("validation/train-0.parquet", "train"),  # the file's own name before the folder's
        ("val/train-test-0.parquet", "validation"),  # but not where that names two splits
        ("train-test-0.parquet", "train"),
        ("shard-000123.tar", "train"),
        ("x7k2dev9q.tar", "train"),
        ("trainer.tar", "train"),
        ("valley.tar", "train"),
        ("medieval/devices.tar", "train"),
        ("\u00e9val.tar", "train"),
        ("testimony/latest.tar", "train"),
    ],
)
def test_a_word_of_the_path_gives_the_split(path: str, split: str) -> None:
    assert infer_splits(ROOT, [path]) == {path: split}


@pytest.mark.parametrize(
    "name", ["{}.parquet", "{}-0.parquet", "X_{}.0.tar", "{}2012.tar", "{}/0.tar", "my {} set/0.tar"]
)
@pytest.mark.parametrize("change", ["lower", "upper", "title"])
def test_every_word_is_known_between_any_separators(name: str, change: str) -> None:
    found = {word: infer_splits(ROOT, [name.format(getattr(word, change)())]) for word in WORDS}
    assert {word: list(splits.values()) for word, splits in found.items()} == {word: [s] for word, s in WORDS.items()}


def test_every_word_of_the_hub_is_known() -> None:
    from datasets.data_files import SPLIT_KEYWORDS  # type: ignore[import-untyped]

    assert {word for words in SPLIT_KEYWORDS.values() for word in words} <= WORDS.keys()


@pytest.mark.parametrize(
    "others", [("foo-0.parquet",), ("data/extra/0.tar", "val-0.tar"), ("train-test-0.tar",)], ids=" ".join
)
def test_a_file_of_no_known_split_beside_training_files_is_bad_input(others: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=f"train-0.tar is named after a split, and {others[0]} .* train, training, val,"):
        infer_splits(ROOT, ["train-0.tar", *others])


def test_two_words_for_the_same_split_are_bad_input() -> None:
    with pytest.raises(BadInput, match=r"dev-0\.tar and val-0\.tar are both for validation; move one"):
        infer_splits(ROOT, ["train-0.tar", "val-0.tar", "dev-0.tar", "dev-1.tar"])


def test_a_test_split_is_used_only_without_a_validation_split() -> None:
    assert choose_held_split(["train", "test", "validation"]) == "validation"
    assert choose_held_split(["train", "test"]) == choose_held_split(["train"]) == "test"
