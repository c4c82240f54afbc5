"""evaluation/neighbours.py: a search with faiss gives the answers of the search without, also of equal images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tencrop.common.errors import BadInput
from tencrop.evaluation import feature_file, neighbours
from tencrop.evaluation.feature_file import FeatureFile, feature_schema
from tencrop.evaluation.neighbours import SPARE, find_candidates, find_neighbours

WIDTH, BLOCK, ROWS = 48, 64, 300
CUT_OFF = """
import os, sys
from pathlib import Path
from tencrop.common.errors import BadInput
from tencrop.evaluation.feature_file import FeatureFile
path = Path(sys.argv[1])
blocks = FeatureFile.open(path).iter_blocks()
next(blocks)
os.truncate(path, 1000)
try:
    list(blocks)
except BadInput as error:
    print(error)
"""
ORIGIN = {"model_sha256": "0" * 64, "layer": "fc7", "views": "center"}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Features, float32 [ROWS,WIDTH], as ReLU gives them; those of the second block are all equal."""
    monkeypatch.setattr(feature_file, "GROUP", BLOCK)
    drawn = np.maximum(np.random.default_rng(7).normal(0, 3, (ROWS, WIDTH)), 0).astype(np.float32)
    drawn[BLOCK : 2 * BLOCK] = drawn[5]
    return drawn


def write(path: Path, rows: np.ndarray, **origin: str) -> FeatureFile:
    schema = feature_schema(rows.shape[1]).with_metadata(ORIGIN | origin)
    values = pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])
    names = [f"{number}.jpg" for number in range(len(rows))]
    pq.write_table(pa.table([names, names, values], schema=schema), path, row_group_size=1024)
    return FeatureFile.open(path)


def test_a_search_with_faiss_gives_the_answers_of_numpy(
    rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "rows.parquet", rows)
    queries = [rows[0], rows[5], rows[200] * 1.01, np.zeros(WIDTH, np.float32), rows[-1] + 1]
    found = [find_neighbours(query, file, 6) for query in queries]
    assert [each.id for each in found[1]] == ["5.jpg", *(f"{BLOCK + i}.jpg" for i in range(5))], "equals in file order"
    monkeypatch.setattr(neighbours, "_load_faiss", lambda: None)
    assert [find_neighbours(query, file, 6) for query in queries] == found


def test_faiss_leaves_out_rows_only_where_they_are_certainly_farther(rows: np.ndarray) -> None:
    candidates = find_candidates(rows[0], rows[:BLOCK], 6)
    assert len(candidates) == 6 + SPARE and candidates[0] == 0 and (np.diff(candidates) > 0).all()
    for uncertain in (rows[BLOCK : 2 * BLOCK], rows[: 6 + SPARE]):
        assert find_candidates(rows[0], uncertain, 6).tolist() == list(range(len(uncertain)))


def test_a_file_that_changes_during_a_search_is_one_line(rows: np.ndarray, tmp_path: Path) -> None:
    place = tmp_path / "rows.parquet"
    file = write(place, rows)
    for other in (write(tmp_path / "narrow.parquet", rows[:, 1:]), write(tmp_path / "fc6.parquet", rows, layer="fc6")):
        place.write_bytes(other.path.read_bytes())
        with pytest.raises(BadInput, match=r"rows\.parquet: was replaced meanwhile; search again"):
            find_neighbours(rows[0], file, 6)


@pytest.mark.slow  # a process
def test_a_file_that_is_cut_off_during_a_search_does_not_end_the_process(tmp_path: Path) -> None:
    """In a process of its own, which a mapped file would end by SIGBUS."""
    place = tmp_path / "rows.parquet"
    write(place, np.random.default_rng(7).random((4096, 256), np.float32))
    found = subprocess.run([sys.executable, "-c", CUT_OFF, str(place)], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and "rows.parquet: damaged" in found.stdout, found


def test_metadata_that_are_no_text_make_no_feature_file(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"]}).replace_schema_metadata({b"\xff": b"\xff"})
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="no feature file"):
        FeatureFile.open(tmp_path / "other.parquet")
