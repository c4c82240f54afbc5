"""dataset/named_file.py: rows without bytes are refused, or read from files below the folder that the user gave."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import jpeg, read_all

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.layouts import open_source
from tencrop.dataset.named_file import find_named_file, read_named_file
from tencrop.dataset.source_options import SourceOptions
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.images.errors import ImageMissing, ImageTooLarge
from tencrop.runtime.classifier import Classifier

CLASSES = ("laptop", "pizza")
HUB = {b"huggingface": json.dumps({"info": {"features": {"label": {"names": CLASSES, "_type": "ClassLabel"}}}})}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
EMBED = r'embed them with `ds\.with_format\("arrow"\)\.map\(embed_table_storage, batched=True\)`'
Row = tuple[bytes | None, str | None]


def write(file: Path, rows: Sequence[Row], **options: bool | int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = pa.array([{"bytes": data, "path": path} for data, path in rows], STRUCT)
    table = pa.table({"image": image, "label": [row % 2 for row in range(len(rows))]})
    pq.write_table(table.replace_schema_metadata(HUB), file, **options)


def write_photographs(folder: Path, count: int = 4) -> list[str]:
    """Images in the folder `ant`, by their paths in it."""
    (folder / "ant").mkdir(parents=True)
    for number in range(count):
        (folder / "ant" / f"{number}.jpg").write_bytes(jpeg(number))
    return [f"ant/{number}.jpg" for number in range(count)]


@pytest.mark.parametrize("without", [range(8), range(0, 8, 2), [7]], ids=["all", "half", "one"])
@pytest.mark.parametrize("statistics", [True, False], ids=["statistics", "no statistics"])
def test_rows_without_bytes_are_refused(tmp_path: Path, without: Sequence[int], statistics: bool) -> None:
    rows = [(None if row in without else jpeg(row), f"/somewhere/{row}.jpg") for row in range(8)]
    write(tmp_path / "train-0.parquet", rows, row_group_size=3, write_statistics=statistics)
    with pytest.raises(BadInput, match=rf"train-0\.parquet: {len(without)} of its images have no bytes.*; {EMBED}"):
        open_source(tmp_path)


def test_a_row_without_an_image_is_refused(tmp_path: Path) -> None:
    for name, image in (("a", pa.array([None, b"x"])), ("b", pa.array([None, {"bytes": b"x", "path": "p"}], STRUCT))):
        file = tmp_path / name / "train-0.parquet"
        file.parent.mkdir()
        pq.write_table(pa.table({"image": image, "label": [0, 1]}).replace_schema_metadata(HUB), file)
        with pytest.raises(BadInput, match="1 of its images have no bytes"):
            open_source(file.parent)


def test_training_rows_without_bytes_do_not_matter_to_an_evaluation_that_does_not_read_them(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [(None, "1.jpg"), (None, "2.jpg")])
    write(tmp_path / "validation-0.parquet", [(jpeg(3), "3.jpg"), (jpeg(4), "4.jpg")])
    assert read_all(open_source(tmp_path, training=False), ImageMissing) == [jpeg(3), jpeg(4)]
    with pytest.raises(BadInput, match=r"train-0\.parquet: 2 of its images"):
        open_source(tmp_path)


def test_bytes_that_the_statistics_deny_to_be_missing_are_an_undecodable_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train-0.parquet", [(None, "1.jpg"), (jpeg(2), "2.jpg")])
    monkeypatch.setattr("tencrop.dataset.parquet.count_without_bytes", lambda opened, file: 0)
    source = open_source(tmp_path)
    with pytest.raises(ImageMissing, match="a row without bytes"):
        source.read(source.entries[0])
    assert source.read(source.entries[1]) == jpeg(2)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_files_that_rows_name_are_read_below_the_folder(tmp_path: Path, absolute: bool) -> None:
    names = write_photographs(tmp_path / "photos")
    paths = [str(tmp_path / "photos" / name) if absolute else name for name in names]
    write(tmp_path / "d" / "train-0.parquet", [(jpeg(9) if n == 2 else None, path) for n, path in enumerate(paths)])
    source = open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "photos"))
    assert read_all(source, ImageMissing) == [jpeg(0), jpeg(1), jpeg(9), jpeg(3)]


def test_a_column_of_paths_is_read(tmp_path: Path) -> None:
    names = write_photographs(tmp_path / "photos")
    table = pa.table({"image": names, "label": [0, 1, 0, 1]}).replace_schema_metadata(HUB)
    (tmp_path / "d").mkdir()
    pq.write_table(table, tmp_path / "d" / "train-0.parquet", row_group_size=3)
    source = open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "photos"))
    assert [entry.id for entry in source.entries] == names
    assert read_all(source, ImageMissing) == [jpeg(number) for number in range(4)]


def test_a_file_that_is_missing_or_elsewhere_is_an_undecodable_image(tmp_path: Path) -> None:
    (name, *_) = write_photographs(tmp_path / "photos", 1)
    (tmp_path / "secret.jpg").write_bytes(jpeg(1))
    (tmp_path / "photos2").mkdir()
    (tmp_path / "photos2" / "1.jpg").write_bytes(jpeg(1))
    os.mkfifo(tmp_path / "photos" / "pipe")
    outside = ["../secret.jpg", "ant/../../secret.jpg", str(tmp_path / "secret.jpg"), "../photos2/1.jpg"]
    odd = ["gone.jpg", "ant", "", ".", "pipe", "a\0b", "x" * 5000, "/" * 5000, "\ud7ff", None]
    write(tmp_path / "d" / "train-0.parquet", [(None, path) for path in (name, *outside, *odd)])
    source = open_source(tmp_path / "d", SourceOptions(image_root=tmp_path / "photos"))
    assert read_all(source, ImageMissing) == [jpeg(0), *[None] * len(outside + odd)]
    reasons = ["missing"] * len(outside + odd)
    assert Account.close(source.inventory, len(source.entries), reasons).taken == 1


def test_a_folder_that_holds_none_of_the_files_is_refused(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photos")
    write(tmp_path / "d" / "train-0.parquet", [(None, f"/home/me/{n}.jpg") for n in range(4)])
    for folder in (tmp_path / "photos", tmp_path / "nowhere"):
        line = rf"{folder.name}: holds none of the 4 images that .*train-0\.parquet names, such as '/home/me/0\.jpg'"
        with pytest.raises(BadInput, match=line):
            open_source(tmp_path / "d", SourceOptions(image_root=folder))


def test_rows_with_neither_bytes_nor_a_path_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [(jpeg(0), None), (None, None)])
    with pytest.raises(BadInput, match=r"train-0\.parquet: 1 of its images have neither bytes nor a path"):
        open_source(tmp_path, SourceOptions(image_root=tmp_path))


def test_links_within_the_folder_and_to_the_folder_are_followed(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photos")
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "photos" / "again").symlink_to("ant")
    for name in ("again/1.jpg", "./again//1.jpg", str(tmp_path / "photos" / "ant" / "1.jpg"), "x/../ant/1.jpg"):
        assert read_named_file(tmp_path / "link", name) == jpeg(1), name
    assert find_named_file(Path("/"), str(tmp_path / "photos" / "ant" / "1.jpg"))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as opened:
        opened.truncate(3 << 30)
    with pytest.raises(ImageTooLarge):
        read_named_file(tmp_path, "a.jpg")


# `datasets` starts threads and imports torch: it writes in a process of its own
WRITER = """
import sys
from datasets import disable_progress_bars, load_dataset
from datasets.table import embed_table_storage
disable_progress_bars()
ds = load_dataset("imagefolder", data_dir=sys.argv[1], split="train", cache_dir=sys.argv[2] + "/cache")
ds.to_parquet(sys.argv[2] + "/paths/train-0.parquet")
embedded = ds.with_format("arrow").map(embed_table_storage, batched=True)
embedded.to_parquet(sys.argv[2] + "/embedded/train-0.parquet")
"""


@pytest.mark.slow
def test_what_datasets_writes_of_files_is_refused_and_read_once_embedded_as_the_line_says(
    tmp_path: Path, photographs: dict[str, Path], classifier: Classifier
) -> None:
    images = [path.read_bytes() for path in photographs.values()]
    for name, data in zip(CLASSES, images, strict=True):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(data)
    command = [sys.executable, "-W", "ignore", "-c", WRITER, str(tmp_path / "photos"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    with pytest.raises(BadInput, match=EMBED):
        open_source(tmp_path / "paths")
    roots = SourceOptions(image_root=tmp_path / "photos")
    for source in (open_source(tmp_path / "embedded"), open_source(tmp_path / "paths", roots)):
        assert read_all(source, ImageMissing) == images
        summary = evaluate_source(source, classifier)
        assert (summary.n, summary.undecodable) == (2, 0)
