"""dataset/: an image of more than 32 MiB is undecodable and is never read, whatever holds it. Memory is measured."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import jpeg, read_all, tar

from tencrop.common.errors import BadInput
from tencrop.dataset import parquet_listing, parquet_pages, parquet_rows
from tencrop.dataset.hub_columns import ImageColumn
from tencrop.dataset.layouts import open_source
from tencrop.dataset.parquet_pages import find_column, measure_largest_page
from tencrop.dataset.parquet_rows import ImageFile, RowGroups
from tencrop.dataset.prepare import prepare
from tencrop.images.errors import ImageTooLarge
from tencrop.images.limits import MAX_BYTES

MIB = 1 << 20
TOO_LARGE = r"an image of \d+ bytes; at most 33554432 are read"
FEATURES = {"label": {"names": ["ant"], "_type": "ClassLabel"}}
HUB = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
POOLS: list[pa.MemoryPool] = []  # arrays outlive the test that measures them, and their pool must live longer


def sparse(file: Path, size: int, at: int = 0) -> Path:
    """Make a file of this size that takes no room."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("r+b" if at else "wb") as opened:
        opened.truncate(at + size)
    return file


@contextmanager
def python_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@contextmanager
def arrow_memory(most: int) -> Iterator[None]:
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < most


def test_a_file_of_three_gigabytes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.jpg").write_bytes(jpeg(0))
    sparse(tmp_path / "ant" / "b.jpg", 3 << 30)
    source = open_source(tmp_path)
    with python_memory(MIB), pytest.raises(ImageTooLarge, match=TOO_LARGE):
        source.read(source.entries[1])
    assert read_all(source, ImageTooLarge) == [jpeg(0), None]


def test_a_file_of_exactly_the_bound_is_read(tmp_path: Path) -> None:
    sparse(tmp_path / "ant" / "a.jpg", MAX_BYTES)
    sparse(tmp_path / "ant" / "b.jpg", MAX_BYTES + 1)
    found = read_all(open_source(tmp_path), ImageTooLarge)
    assert found[0] is not None and len(found[0]) == MAX_BYTES and found[1] is None


def test_a_tar_member_of_six_gigabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "train.tar"
    (tmp_path / "classes.txt").write_text("ant\n")
    with file.open("wb") as opened:
        for name, size in (("a.jpg", len(jpeg(0))), ("a.cls", 1), ("b.cls", 1), ("b.jpg", 6 << 30)):
            info = tarfile.TarInfo(name)
            info.size = size
            opened.write(info.tobuf(tarfile.GNU_FORMAT))
            if size < MIB:
                opened.write((jpeg(0) if size > 1 else b"0").ljust(-(-size // 512) * 512, b"\0"))
        opened.truncate(opened.tell() + (6 << 30) + 1024)
    source = open_source(tmp_path)
    with python_memory(MIB):
        assert read_all(source, ImageTooLarge) == [jpeg(0), None]


def test_a_label_of_gigabytes_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("ant\n")
    with (tmp_path / "train.tar").open("wb") as opened:
        info = tarfile.TarInfo("a.jpg")
        info.size = 512
        opened.write(info.tobuf() + bytes(512))
        info = tarfile.TarInfo("a.cls")
        info.size = 4 << 30
        opened.write(info.tobuf(tarfile.GNU_FORMAT))
        opened.truncate(opened.tell() + (4 << 30) + 1024)
    with python_memory(8 * MIB), pytest.raises(BadInput, match=r"a\.cls holds no label"):
        open_source(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_in_a_tar_is_not_read(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "classes.txt").write_text("ant\n")
    with (tmp_path / "train.tar").open("wb") as opened:
        info = tarfile.TarInfo("a")
        info.type, info.size = kind, 6 << 30
        opened.write(info.tobuf(tarfile.GNU_FORMAT))
        opened.truncate(opened.tell() + (6 << 30) + 1024)
    with python_memory(MIB), pytest.raises(BadInput, match=r"train\.tar: .* \(a header of 6442450944 bytes\)"):
        open_source(tmp_path)


def test_a_devkit_that_inflates_to_gigabytes_is_bad_input(tmp_path: Path) -> None:
    """Its bytes are zeros: 60 MB of them take 60 kB."""
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(tar({}))
    info = tarfile.TarInfo("d/data/meta.mat")
    info.size = 60 * MIB
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with python_memory(8 * MIB), pytest.raises(BadInput, match=r"meta\.mat: has 62914560 bytes"):
        open_source(tmp_path)


def test_an_undecodable_large_file_is_left_out_when_a_data_set_is_prepared(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        for number in range(3):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name / f"{number}.jpg").write_bytes(jpeg(number))
    sparse(tmp_path / "in" / "bee" / "x.jpg", 3 << 30)
    document = prepare(open_source(tmp_path / "in"), tmp_path / "out", 0.0, lambda _: None)
    undecodable = document["undecodable"] if isinstance(document, dict) else document.undecodable
    assert list(undecodable) == ["bee/x.jpg"]


def as_struct(values: Sequence[bytes | None], paths: list[str]) -> pa.Array:
    rows = [{"bytes": value, "path": path} for value, path in zip(values, paths, strict=True)]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def as_large_struct(values: Sequence[bytes | None], paths: list[str]) -> pa.Array:
    rows = [{"path": path, "bytes": value} for value, path in zip(values, paths, strict=True)]
    return pa.array(rows, pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())]))


FORMS: dict[str, Callable[[Sequence[bytes | None], list[str]], pa.Array]] = {  # of a column of images
    "bytes and path": as_struct,
    "large bytes and path": as_large_struct,
    "bytes": lambda values, _: pa.array(values, pa.binary()),
    "large bytes": lambda values, _: pa.array(values, pa.large_binary()),
}


def write(
    file: Path,
    values: Sequence[bytes | None],
    path: Callable[[int], str] = "{}.jpg".format,
    form: str = "bytes and path",
    labels: pa.Array | None = None,
    **options: Any,
) -> Path:
    image = FORMS[form](values, [path(row) for row in range(len(values))])
    table = pa.table({"image": image, "label": [0] * len(values) if labels is None else labels})
    pq.write_table(table.replace_schema_metadata(HUB), file, **options)
    return file


LAYOUTS: dict[str, dict[str, Any]] = {
    "pyarrow's own": {},
    "zstd": {"compression": "zstd"},
    "version 2 pages": {"data_page_version": "2.0"},
    "no dictionary": {"use_dictionary": False},
    "small pages": {"data_page_size": 4096, "write_batch_size": 3},
    "checksums and an index": {"write_page_checksum": True, "write_page_index": True},
    "many row groups": {"row_group_size": 7},
    "no statistics": {"write_statistics": False, "compression": "none"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_page_headers_tell_how_far_a_column_inflates(tmp_path: Path, layout: str, form: str) -> None:
    values = [os.urandom(3000) for _ in range(40)]
    file = write(tmp_path / "a.parquet", values, form=form, **LAYOUTS[layout])
    with pq.ParquetFile(file) as opened:
        for index in range(opened.num_row_groups):
            group = opened.metadata.row_group(index)
            chunk = find_column(group, "image.bytes" if "path" in form else "image")
            assert chunk is not None
            assert (
                3000 <= measure_largest_page(file, chunk) <= min(group.num_rows * 3010, chunk.total_uncompressed_size)
            )
    assert read_all(open_source(tmp_path), ImageTooLarge) == values


@pytest.mark.parametrize("form", FORMS)
def test_a_parquet_of_kilobytes_that_inflates_to_gigabytes_is_bad_input(tmp_path: Path, form: str) -> None:
    values = [jpeg(0), bytes(130 * MIB)]
    file = write(tmp_path / "a.parquet", values, form=form, compression="zstd", use_dictionary=False)
    assert file.stat().st_size < 40_000
    line = r"a\.parquet: a page of image(\.bytes)? inflates to \d+ bytes"
    with arrow_memory(MIB), pytest.raises(BadInput, match=line):
        open_source(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "statistics"), [("bytes and path", True), ("large bytes", False)])
def test_rows_that_a_dictionary_repeats_are_decoded_one_by_one(tmp_path: Path, form: str, statistics: bool) -> None:
    """24 rows of 30 MiB in 10 kB: together 720 MiB."""
    options: dict[str, Any] = {"compression": "zstd", "dictionary_pagesize_limit": 64 * MIB}
    file = write(tmp_path / "a.parquet", [bytes(30 * MIB)] * 24, form=form, write_statistics=statistics, **options)
    assert file.stat().st_size < 40_000
    with arrow_memory(200 * MIB):
        source = open_source(tmp_path)
        assert all(len(source.read(entry)) == 30 * MIB for entry in source.entries)


@pytest.mark.slow
def test_an_evaluation_of_long_values_stays_below_700_mebibytes(tmp_path: Path) -> None:
    """The engine takes some 440 of them. Before, evaluate took 850."""
    values = [jpeg(0), *[bytes(31 * MIB)] * 60]
    options: dict[str, Any] = {"compression": "zstd", "dictionary_pagesize_limit": 64 * MIB}
    write(tmp_path / "a.parquet", values, form="large bytes and path", **options)
    check = "from pathlib import Path; from tencrop import cli\ntry: cli.main()\n"
    check += "finally: print(Path('/proc/self/status').read_text())"
    command = [sys.executable, "-c", check, "evaluate", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert "61 images (60 undecodable)" in done.stdout and peak
    assert int(peak[1]) < 700 << 10


@pytest.mark.parametrize("form", FORMS)
def test_a_value_that_is_too_long_is_undecodable_and_its_neighbours_are_read(tmp_path: Path, form: str) -> None:
    values = [jpeg(0), bytes(MAX_BYTES + 1), jpeg(2), b""]
    write(tmp_path / "a.parquet", values, form=form, compression="zstd")
    source = open_source(tmp_path)
    with pytest.raises(ImageTooLarge, match=TOO_LARGE):
        source.read(source.entries[1])
    assert read_all(source, ImageTooLarge) == [jpeg(0), None, jpeg(2), b""]


def test_pages_of_many_long_values_are_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    values = [os.urandom(1000) + bytes(MIB) for _ in range(100)]
    file = write(tmp_path / "a.parquet", values, compression="zstd", use_dictionary=False)
    rows = RowGroups((ImageFile(file, ImageColumn("image", "image.bytes", None)),))
    with arrow_memory(400 * MIB):
        assert all(rows.read(0, 0, row) == (value, None) for row, value in enumerate(values))
    (cursor,) = rows._open.values()
    assert sum(kept.nbytes for kept in cursor._kept) <= parquet_rows.KEPT_BYTES
    assert sum(map(len, cursor._kept)) <= parquet_rows.ROWS * parquet_rows.KEPT


def test_paths_that_inflate_are_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.parquet", [b""] * 3000, lambda row: "x" * 100_000, compression="zstd")
    assert file.stat().st_size < 40_000
    with arrow_memory(500 * MIB), pytest.raises(BadInput, match=r"the paths and labels of its images take more than"):
        open_source(tmp_path)
    monkeypatch.setattr(parquet_pages, "MAX_PAGE", 50_000)
    with pytest.raises(BadInput, match=r"a page of image\.path inflates to 10"):
        open_source(tmp_path)


LONG: dict[str, Callable[[list[str]], pa.Array]] = {  # columns of labels
    "texts": pa.array,
    "large texts": lambda labels: pa.array(labels, pa.large_string()),
    "categories": lambda labels: pa.array(labels).dictionary_encode(),
}


@pytest.mark.parametrize("kind", LONG)
def test_labels_that_inflate_are_bad_input(tmp_path: Path, kind: str) -> None:
    labels = LONG[kind]([str(row % 2) * 100_000 for row in range(6000)])
    file = write(tmp_path / "a.parquet", [b""] * 6000, form="bytes", labels=labels, compression="zstd")
    assert file.stat().st_size < 80_000
    with arrow_memory(700 * MIB), pytest.raises(BadInput, match=r"the paths and labels of its images take more than"):
        open_source(tmp_path)


def test_millions_of_rows_in_a_few_bytes_are_bad_input(tmp_path: Path) -> None:
    rows = parquet_listing.FEW_ROWS + 1
    image = pa.nulls(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": image, "label": pa.array([0]).take(pa.array([0] * rows))})
    pq.write_table(table.replace_schema_metadata(HUB), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < rows
    with pytest.raises(BadInput, match="lists 100001 images, more than it has bytes"):
        open_source(tmp_path)


def test_damage_of_a_page_header_raises_what_a_damaged_file_raises(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", [os.urandom(300) for _ in range(5)])
    whole = file.read_bytes()
    for at in range(4, 60):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with suppress(BadInput, OSError):
            read_all(open_source(tmp_path), ImageTooLarge)


LIMITED = """
import resource, sys
from pathlib import Path
from typing import Any
from tencrop.dataset.hub_columns import ImageColumn
from tencrop.dataset.layouts import open_source
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
source = open_source(Path(sys.argv[1]))
try:
    source.read(source.entries[0])
except Exception as error:
    print(error)
"""


def test_under_a_limit_of_memory_a_large_file_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    sparse(tmp_path / "ant" / "a.jpg", 20 << 30)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"an image of {20 << 30} bytes; at most {MAX_BYTES} are read\n" and not done.stderr
