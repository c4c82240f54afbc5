"""evaluation/neighbours.py: a search with faiss gives the answers of the search without, also of equal images."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tencrop.evaluation import feature_file, neighbours
from tencrop.evaluation.feature_file import FeatureFile, feature_schema
from tencrop.evaluation.neighbours import SPARE, find_candidates, find_neighbours

WIDTH, BLOCK, ROWS = 48, 64, 300
ORIGIN = {"model_sha256": "0" * 64, "layer": "fc7", "views": "center"}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Features, float32 [ROWS,WIDTH], as ReLU gives them; those of the second block are all equal."""
    monkeypatch.setattr(feature_file, "GROUP", BLOCK)
    drawn = np.maximum(np.random.default_rng(7).normal(0, 3, (ROWS, WIDTH)), 0).astype(np.float32)
    drawn[BLOCK : 2 * BLOCK] = drawn[5]
    return drawn


def write(path: Path, rows: np.ndarray) -> FeatureFile:
    schema = feature_schema(rows.shape[1]).with_metadata(ORIGIN)
    values = pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])
    names = [f"{number}.jpg" for number in range(len(rows))]
    pq.write_table(pa.table([names, names, values], schema=schema), path)
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
