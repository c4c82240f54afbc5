"""dataset/devkit.py: reads meta.mat and the ground truth into labels that count the sorted wnids."""

import gzip
from pathlib import Path

import pytest
from archives import SORTED, SYNSETS, TRUE_LABELS, WORDS, devkit

from tencrop.common.errors import BadInput
from tencrop.dataset.devkit import read_devkit
from tencrop.model.contract import Label


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "devkit.tar.gz").write_bytes(content)
    return tmp_path / "devkit.tar.gz"


def test_leaves_are_labels_by_wnid_and_the_ground_truth_is_translated(tmp_path: Path) -> None:
    read = read_devkit(write(tmp_path, devkit()))
    assert read.labels == tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))
    assert read.truth == TRUE_LABELS


def test_one_synset_alone_is_read(tmp_path: Path) -> None:
    assert read_devkit(write(tmp_path, devkit(SYNSETS[:1], (1, 1)))).truth == (0, 0)


def test_a_devkit_that_a_browser_has_unzipped_is_read(tmp_path: Path) -> None:
    assert read_devkit(write(tmp_path, gzip.decompress(devkit()))).truth == TRUE_LABELS


def test_a_devkit_that_is_cut_short_is_bad_input_naming_the_file(tmp_path: Path) -> None:
    whole = devkit()
    for size in range(0, len(whole) * 9 // 10, 13):  # behind that come only the zeros that end a tar
        file = write(tmp_path, whole[:size])
        with pytest.raises(BadInput, match=f"^{file}: "):
            read_devkit(file)


def test_a_missing_devkit_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing; it names the classes"):
        read_devkit(tmp_path / "nowhere.tar.gz")
