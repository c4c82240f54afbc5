"""dataset/prepared_images.py: a raw store holds the decoded pixels, and both stores give equal crops."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.disk_calls import DiskCalls

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import DOCUMENT, INDEX, PreparedStore
from tencrop.dataset.source import Source
from tencrop.images.decode import decode
from tencrop.model.contract import Contract

IMAGE_BYTES = 256 * 256 * 3


def quiet(done: int) -> None:
    pass


@pytest.fixture(scope="module")
def source(tiny_folder: Path) -> Source:
    return open_source(tiny_folder)


def test_a_raw_store_holds_the_decoded_pixels(source: Source, tiny_raw: PreparedStore) -> None:
    whole = [entry for entry in source.entries if "broken" not in entry.id]
    assert len(tiny_raw.labels) == len(whole) == 30
    for index, entry in enumerate(whole):
        np.testing.assert_array_equal(tiny_raw.read_pixels(index), decode(source.read(entry), Contract())[0])


def test_it_is_one_file_in_which_an_undecodable_image_is_black(source: Source, tiny_raw: PreparedStore) -> None:
    assert [file.name for file in tiny_raw.root.glob("*.bin")] == ["pixels.bin"]
    stored = np.fromfile(tiny_raw.root / "pixels.bin", np.uint8).reshape(31, 256, 256, 3)
    broken = [entry.id for entry in source.entries].index("ant/broken.png")
    assert [number for number, image in enumerate(stored) if not image.any()] == [broken]
    index = pq.read_table(tiny_raw.root / INDEX)
    assert index["start"].to_pylist() == [number * IMAGE_BYTES for number in range(31)]
    assert index["bytes"].to_pylist() == [0 if number == broken else IMAGE_BYTES for number in range(31)]


def test_the_documents_of_the_stores_differ_in_their_form_alone(
    tiny_prepared: PreparedStore, tiny_raw: PreparedStore
) -> None:
    jpeg, raw = (json.loads((each.root / DOCUMENT).read_text()) for each in (tiny_prepared, tiny_raw))
    assert raw == jpeg | {"store": "raw", "quality": None, "bytes_per_image": IMAGE_BYTES}
    assert "store" not in jpeg
    assert tiny_raw.contract == tiny_prepared.contract
    for name in ("labels", "validation"):
        np.testing.assert_array_equal(getattr(tiny_raw, name), getattr(tiny_prepared, name))
    for ours, theirs in zip(
        tiny_raw.statistics.to_tensors().values(), tiny_prepared.statistics.to_tensors().values(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["tiny_prepared", "tiny_raw"])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (32, 32), (7, 20)])
def test_a_crop_is_a_part_of_the_image(kind: str, top: int, left: int, request: pytest.FixtureRequest) -> None:
    prepared: PreparedStore = request.getfixturevalue(kind)
    for index in (0, 13, 29):
        crop = prepared.read_crop(index, top, left, 224)
        assert crop.shape == (224, 224, 3)
        np.testing.assert_array_equal(crop, prepared.read_pixels(index)[top : top + 224, left : left + 224])


def test_the_pixels_cannot_be_written_to(tiny_raw: PreparedStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        tiny_raw.read_pixels(0)[0] = 1


def test_a_disk_without_room_for_the_pixels_is_one_line_before_any_image_is_decoded(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    heard: list[int] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(31 * IMAGE_BYTES - 1))
    with pytest.raises(WorkFailed, match=r"the images take 0\.0 GB, and 0\.0 GB are free; make room, or"):
        prepare(source, tmp_path, 0.2, heard.append, "raw")
    assert not heard
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(31 * IMAGE_BYTES))
    prepare(source, tmp_path, 0.2, quiet, "raw")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0))
    prepare(source, tmp_path, 0.2, quiet, "raw")  # all is there


def test_an_unknown_store_is_bad_input(source: Source, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--store row: expected jpeg or raw; did you mean raw\?"):
        prepare(source, tmp_path / "out", 0.2, quiet, "row")
    assert not (tmp_path / "out").exists()


def test_the_pixels_are_on_the_disk_before_the_table_that_lists_them(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    prepare(source, tmp_path, 0.2, quiet, "raw")
    synced = calls.calls.index(("sync", (tmp_path / "pixels.bin").stat().st_ino))
    assert synced < calls.calls.index(("rename", tmp_path / "part-00000.parquet"))
