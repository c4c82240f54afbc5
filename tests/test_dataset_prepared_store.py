"""dataset/prepared_store.py: batches in order with their labels; a damaged store is one line of BadInput."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import DOCUMENT, INDEX, STATISTICS, PreparedStore


def test_batches_come_in_order_with_their_labels(tiny_prepared: PreparedStore) -> None:
    indices = np.random.default_rng(0).permutation(30)[:17]
    batches = list(tiny_prepared.iter_batches(indices, 5))
    assert [len(images) for images, _ in batches] == [5, 5, 5, 2]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), tiny_prepared.labels[indices])
    expected = np.stack([tiny_prepared.read_pixels(int(index)) for index in indices])
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), expected)


def test_no_indices_give_no_batches(tiny_prepared: PreparedStore) -> None:
    assert list(tiny_prepared.iter_batches(np.array([], np.int64), 5)) == []


def copy_of(prepared: PreparedStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared.root, tmp_path / "copy"))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without(file: Path, key: str) -> None:
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated part": lambda root: truncate(root / "part-00000.bin"),
    "missing part": lambda root: (root / "part-00000.bin").unlink(),
    "no document": lambda root: (root / DOCUMENT).unlink(),
    "truncated document": lambda root: truncate(root / DOCUMENT),
    "document without contract": lambda root: without(root / DOCUMENT, "contract"),
    "document of an unknown store": lambda root: (root / DOCUMENT).write_text(
        json.dumps(json.loads((root / DOCUMENT).read_text()) | {"store": "tar"})
    ),
    "document of another shape": lambda root: (root / DOCUMENT).write_text("[]"),
    "truncated index": lambda root: truncate(root / INDEX),
    "missing index": lambda root: (root / INDEX).unlink(),
    "index without labels": lambda root: pq.write_table(
        pq.read_table(root / INDEX).drop_columns(["label"]), root / INDEX
    ),
    "truncated statistics": lambda root: truncate(root / STATISTICS),
    "missing statistics": lambda root: (root / STATISTICS).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_prepared_data_set_is_bad_input_naming_it(
    tiny_prepared: PreparedStore, tmp_path: Path, damage: str
) -> None:
    root = copy_of(tiny_prepared, tmp_path)
    DAMAGES[damage](root)
    with pytest.raises(BadInput, match=str(root)):
        assert PreparedStore.open(root).statistics.mean.shape == (3, 256, 256)
