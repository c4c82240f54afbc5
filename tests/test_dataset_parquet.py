"""dataset/parquet.py: reads the hub's parquet files, which `datasets` itself writes here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import SORTED, WORDS, jpeg, read_by_threads

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Entry
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label

# `datasets` starts threads and imports torch: it writes in a process of its own, which takes one job a line
WRITER = """
import json, sys
from datasets import ClassLabel, Dataset, Features, Image, Value
for line in sys.stdin:
    job = json.loads(line)
    label = ClassLabel(names=job["names"]) if job["names"] else Value("int64")
    images = [{"bytes": bytes.fromhex(b), "path": p} for b, p, _ in job["rows"]]
    rows = {"image": images, "label": [l for *_, l in job["rows"]]}
    dataset = Dataset.from_dict(rows, features=Features({"image": Image(), "label": label}))
    dataset.to_parquet(job["file"], batch_size=job["batch"])
    print("written", flush=True)
"""
Row = tuple[bytes, str | None, int]
Write = Callable[..., None]


@pytest.fixture(scope="module")
def write() -> Iterator[Write]:
    """Write row groups of `batch` images, as `push_to_hub` makes them. One process writes all files."""
    command = [sys.executable, "-W", "ignore", "-c", WRITER]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:

        def write_file(file: Path, rows: Sequence[Row], names: Sequence[str] | None = WORDS, batch: int = 100) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            job: dict[str, Any] = {
                "file": str(file),
                "names": names,
                "batch": batch,
                "rows": [(b.hex(), p, label) for b, p, label in rows],
            }
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "written\n"

        yield write_file


def rows(split: str, count: int, first: int = 0) -> list[Row]:
    """Images named as imagenet-1k on the hub names them."""
    stem = {"train": "{wnid}_{n}_{wnid}.JPEG", "validation": "ILSVRC2012_val_{n:08d}_{wnid}.JPEG"}[split]
    return [(jpeg(n), stem.format(wnid=SORTED[n % 3], n=n), n % 3) for n in range(first, first + count)]


@pytest.fixture(scope="module")
def hub(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    write(root / "data" / "train-00000-of-00002.parquet", rows("train", 25), batch=10)
    write(root / "data" / "train-00001-of-00002.parquet", rows("train", 7, 100), batch=10)
    write(root / "data" / "validation-00000-of-00001.parquet", rows("validation", 9, 200), batch=4)
    write(root / "data" / "test-00000-of-00001.parquet", [(jpeg(n), f"test{n}.JPEG", -1) for n in range(3)])
    (root / "README.md").write_text("# imagenet")
    return root


def test_every_image_is_read_as_it_was_written_by_several_threads(hub: Path) -> None:
    expected = {path: (label, False, data) for data, path, label in rows("train", 25) + rows("train", 7, 100)}
    expected |= {path: (label, True, data) for data, path, label in rows("validation", 9, 200)}
    assert read_by_threads(open_source(hub)) == expected


def test_wnids_in_the_images_names_are_the_classes_ids(hub: Path) -> None:
    assert open_source(hub).labels == tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))


def test_a_labels_file_that_orders_the_classes_otherwise_than_the_images_are_named_is_bad_input(
    hub: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("n01440764 a\nn02119789 b\nn03000685 c\n")
    with pytest.raises(BadInput, match="label 2 is class n03000685, but its images are named n03000684"):
        open_source(hub, SourceOptions(names=tmp_path / "words.txt"))


def test_a_labels_file_in_another_order_than_the_schema_is_bad_input(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("".join(f"class{n} {words}\n" for n, words in enumerate(reversed(WORDS))))
    with pytest.raises(BadInput, match="class 0 is 'chain saw, chainsaw', in the data it is 'tench, Tinca tinca'"):
        open_source(hub, SourceOptions(names=tmp_path / "words.txt"))


def test_a_single_file_at_the_top_without_paths_or_split(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "images.parquet", [(jpeg(n), None, n % 2) for n in range(5)], ["ant", "bee"])
    source = open_source(tmp_path)
    assert source.labels == (Label("ant", "ant"), Label("bee", "bee"))
    assert list(source.entries) == [Entry(f"images.parquet/{n:07d}", n % 2, None, (0, 0, n)) for n in range(5)]
    assert [source.read(entry) for entry in source.entries] == [jpeg(n) for n in range(5)]


def test_ids_are_file_and_row_where_paths_are_not_unique(write: Write, tmp_path: Path) -> None:
    for name in ("train", "validation"):
        write(tmp_path / name / "0000.parquet", [(jpeg(n), f"{n}.jpg", 0) for n in range(2)], ["ant"])
    assert [(entry.id, entry.validation) for entry in open_source(tmp_path).entries] == [
        ("train/0000.parquet/0000000", False),
        ("train/0000.parquet/0000001", False),
        ("validation/0000.parquet/0000000", True),
        ("validation/0000.parquet/0000001", True),
    ]


def test_equal_names_get_a_number(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [(jpeg(n), f"{n}.jpg", n) for n in range(3)], ["crane", "ant", "crane "])
    table = pq.read_table(tmp_path / "a.parquet")
    metadata = {b"huggingface": table.schema.metadata[b"huggingface"].replace(b'"crane "', b'"crane"')}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert open_source(tmp_path).labels == (Label("crane #0", "crane"), Label("ant", "ant"), Label("crane #2", "crane"))


def test_a_labelled_test_split_is_for_validation_where_there_is_no_other(write: Write, tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / f"{name}-00000-of-00001.parquet", [(jpeg(n), f"{name}{n}.jpg", 0) for n in range(2)], ["ant"])
    assert [entry.validation for entry in open_source(tmp_path).entries] == [True, True, False, False]


def test_without_names_in_the_schema_a_labels_file_gives_them(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [(jpeg(n), f"{n}.jpg", n) for n in range(2)], None)
    with pytest.raises(BadInput, match="no class names in the schema; give the class names with --labels FILE"):
        open_source(tmp_path)
    (tmp_path / "words.txt").write_text("n01440764 tench\nn02119789 kit fox\n")
    assert open_source(tmp_path, SourceOptions(names=tmp_path / "words.txt")).labels == (
        Label("n01440764", "tench"),
        Label("n02119789", "kit fox"),
    )
    (tmp_path / "words.txt").write_text("n01440764 tench\n")
    with pytest.raises(BadInput, match="label 1, but only 1 classes are named"):
        open_source(tmp_path, SourceOptions(names=tmp_path / "words.txt"))


def test_unreadable_parquet_is_one_line_of_bad_input(hub: Path, tmp_path: Path) -> None:
    whole = (hub / "data" / "train-00000-of-00002.parquet").read_bytes()
    for content in (b"", b"PAR1 no parquet PAR1", whole[: len(whole) // 2]):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.parquet: not parquet with labelled images, or damaged"):
            open_source(tmp_path)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"a\.parquet: no column of encoded images among text \(string\); expected JPEG"):
        open_source(tmp_path)


def test_a_training_row_without_a_label_is_bad_input(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [(jpeg(0), "0.jpg", 0), (jpeg(1), "1.jpg", -1)], ["ant"])
    with pytest.raises(BadInput, match=r"train\.parquet: row 1 has no label"):
        open_source(tmp_path)


def test_two_data_sets_in_one_folder_are_bad_input(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [(jpeg(0), "0.jpg", 0)], ["ant"])
    write(tmp_path / "b.parquet", [(jpeg(1), "1.jpg", 0)], ["bee"])
    with pytest.raises(BadInput, match=r"b\.parquet: names other classes"):
        open_source(tmp_path)
