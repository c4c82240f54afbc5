"""dataset/arrow_stream.py: damaged, compressed and hostile Arrow files are one line, within a limit of memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from archives import jpeg
from support.arrow_files import make_table, save
from test_dataset_sizes import arrow_memory, python_memory, sparse

from tencrop.common.errors import BadInput
from tencrop.dataset import arrow_stream, hub_columns
from tencrop.dataset.layouts import open_source
from tencrop.images.errors import ImageTooLarge
from tencrop.images.limits import MAX_BYTES

MIB = 1 << 20
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images(values: list[bytes]) -> pa.Array:
    return pa.array([{"bytes": value, "path": f"{row}.jpg"} for row, value in enumerate(values)], STRUCT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The Arrow file of a small data set."""
    (path,) = save(tmp_path / "d", make_table(images([jpeg(n) for n in range(7)]), [n % 2 for n in range(7)]))
    return path


def test_images_are_not_read_while_they_are_listed_and_one_by_one_later(tmp_path: Path) -> None:
    values = [bytes([n]) * (20 * MIB) for n in range(5)]
    save(tmp_path, make_table(images(values), [0] * 5), rows=5)
    with arrow_memory(MIB), python_memory(64 * MIB):
        source = open_source(tmp_path)
        assert all(source.read(entry) == values[n] for n, entry in enumerate(source.entries))


def test_an_image_that_is_too_long_is_undecodable_and_is_not_read(tmp_path: Path) -> None:
    save(tmp_path, make_table(images([jpeg(0), bytes(MAX_BYTES + 1), bytes(MAX_BYTES)]), [0, 0, 0]))
    source = open_source(tmp_path)
    with python_memory(MIB), pytest.raises(ImageTooLarge, match=f"an image of {MAX_BYTES + 1} bytes"):
        source.read(source.entries[1])
    assert [len(source.read(source.entries[n])) for n in (0, 2)] == [len(jpeg(0)), MAX_BYTES]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_rows_are_refused_before_they_are_inflated(tmp_path: Path, compression: str) -> None:
    (path,) = save(tmp_path, make_table(images([bytes(200 * MIB)]), [0]), compression=compression)
    assert path.stat().st_size < 2 * MIB
    with arrow_memory(MIB), pytest.raises(BadInput, match=r"\.arrow: holds compressed rows, or a record batch"):
        open_source(tmp_path)


def test_a_dictionary_is_refused(tmp_path: Path) -> None:
    save(tmp_path, make_table(images([jpeg(0)]), pa.array(["ant"]).dictionary_encode()))
    with pytest.raises(BadInput, match=r"\.arrow: holds compressed rows, or a dictionary"):
        open_source(tmp_path)


def test_every_file_that_ends_early_is_one_line(file: Path) -> None:
    """Also one that ends after a batch: Arrow itself takes that for the end."""
    whole = file.read_bytes()
    for size in (*range(0, len(whole), 97), len(whole) - 8, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"\.arrow: ends early; copy it again"):
            open_source(file.parent)


def test_a_file_that_became_shorter_is_an_os_error(file: Path) -> None:
    source = open_source(file.parent)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(OSError, match="shorter than it was"):
        source.read(source.entries[6])


def test_text_that_is_not_utf_8_is_one_line(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"5.jpg", b"5\xffjpg"))
    with pytest.raises(BadInput, match=r"not an Arrow stream with labelled images, or damaged \(.*UTF8"):
        open_source(file.parent)


def test_another_file_is_one_line(file: Path) -> None:
    for content in (arrow_stream.END, b"PAR1" * 100 + arrow_stream.END, b"\xff" * 4 + b"\x7f" * 100 + arrow_stream.END):
        file.write_bytes(content)
        with pytest.raises(BadInput, match="not an Arrow stream with labelled images, or damaged"):
            open_source(file.parent)


def test_a_sparse_file_of_gigabytes_is_not_read(file: Path) -> None:
    sparse(file, 20 << 30)
    with python_memory(MIB), arrow_memory(MIB), pytest.raises(BadInput, match="ends early"):
        open_source(file.parent)


def test_a_listing_beyond_a_limit_of_memory_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(pa.array([{"bytes": b"", "path": "x" * 1000}] * 3000, STRUCT), [0] * 3000)
    save(tmp_path, table, rows=1000)
    monkeypatch.setattr(hub_columns, "MAX_LISTING", 2 * MIB)
    with arrow_memory(3 * MIB), pytest.raises(BadInput, match="the paths and labels of its images take more"):
        open_source(tmp_path)
    monkeypatch.setattr(hub_columns, "MAX_LISTING", 31_000)  # less than the places of the first batch
    with arrow_memory(MIB), pytest.raises(BadInput, match="the paths and labels of its images take more"):
        open_source(tmp_path)


DAMAGE = """
import sys
from contextlib import suppress
from pathlib import Path
import numpy as np
from tencrop.common.errors import TencropError
from tencrop.dataset.layouts import open_source
file, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
whole, random = file.read_bytes(), np.random.default_rng(seed)
refused = 0
for _ in range(count):
    damaged = bytearray(whole)
    for at in random.integers(0, len(whole) - 8, random.integers(1, 4)):
        damaged[at] = random.choice([0, 1, 127, 128, 255, damaged[at] ^ 1])
    file.write_bytes(damaged)
    try:
        source = open_source(file.parent)
        for entry in source.entries:
            with suppress(TencropError):
                source.read(entry)
    except TencropError:
        refused += 1
print(refused)
"""


def test_a_damaged_file_is_one_line_or_other_images_and_ends_no_process(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, str(file), "0", "100"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
