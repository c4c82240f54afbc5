"""Records: each score equals plain numpy, an image without an answer has none, and older files are read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import make_records

from tencrop.common.errors import BadInput
from tencrop.evaluation.prediction_records import ADDED, SCHEMA, SCORES, read_records, write_records
from tencrop.images.errors import Failure


def draw(n: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(n)
    views = random.dirichlet(np.full(classes, 0.3), (n, 10)).astype(np.float32)
    return random.integers(0, classes, n), views.mean(1), views


def test_every_score_equals_a_loop_over_the_images() -> None:
    labels, mean, views = draw(40, 6)
    for label, p, each, row in zip(labels, mean, views, make_records(labels, mean, views).to_pylist(), strict=True):
        assert row["class_name"] == f"words of {label}"
        assert row["view_agreement"] == sum(view.tolist().index(max(view)) == p.argmax() for view in each)
        assert row["entropy"] == pytest.approx(-sum(x * np.log(x) for x in p.tolist() if x), rel=1e-5)
        for kind, q in (("center", each[2]), ("ten_crop", p)):
            assert row[f"{kind}_true_probability"] == q[label]
            squares = sum((x - (c == label)) ** 2 for c, x in enumerate(q.tolist()))
            assert row[f"{kind}_brier"] == pytest.approx(squares, rel=1e-5)


def test_probabilities_of_zero_and_one_have_scores() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 1]]
    right, wrong = make_records(np.array([0, 0]), certain, np.repeat(certain[:, None], 10, 1)).to_pylist()
    assert (right["entropy"], right["ten_crop_brier"], right["view_agreement"]) == (0, 0, 10)
    assert (wrong["entropy"], wrong["ten_crop_brier"], wrong["ten_crop_true_probability"]) == (0, 2, 0)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_an_image_without_an_answer_has_no_score(worst: float) -> None:
    labels, mean, views = draw(4, 6)
    mean[1], views[1] = worst, worst
    failures = [Failure("", ""), Failure("", ""), Failure("damaged_image", "it is"), Failure("", "")]
    rows = make_records(labels, mean, views, failures).to_pylist()
    assert [[row[name] is None for name in SCORES] for row in rows] == [[lost] * 6 for lost in (0, 1, 1, 0)]
    assert all(row["class_name"] for row in rows)


def test_class_names_are_a_dictionary_of_those_that_occur(tmp_path: Path) -> None:
    tables = [make_records(np.full(30, label), *draw(30, 6)[1:]) for label in (4, 2)]
    write_records(tmp_path / "x.parquet", pa.concat_tables(tables).unify_dictionaries())
    column = read_records(tmp_path / "x.parquet")["class_name"]
    assert column.type == SCHEMA.field("class_name").type
    assert column.chunk(0).dictionary.to_pylist() == ["words of 4", "words of 2"]
    assert column.to_pylist() == ["words of 4"] * 30 + ["words of 2"] * 30


@pytest.mark.parametrize("lacking", [[*SCORES, "class_name"], list(ADDED)], ids=["0.2", "0.1"])
def test_records_of_an_older_version_are_read_without_scores(lacking: list[str], tmp_path: Path) -> None:
    table = make_records(*draw(9, 6))
    write_records(tmp_path / "x.parquet", table.drop_columns(lacking))
    read = read_records(tmp_path / "x.parquet")
    assert read.schema == SCHEMA and read.drop_columns(lacking).equals(table.drop_columns(lacking))
    assert all(read[name].null_count == 9 for name in (*SCORES, "class_name"))


def test_records_with_a_foreign_column_are_one_line(tmp_path: Path) -> None:
    table = make_records(*draw(9, 6))
    pq.write_table(table.append_column("more", table["label"]), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match=r"x\.parquet: has other columns than id, label, class_name"):
        read_records(tmp_path / "x.parquet")
