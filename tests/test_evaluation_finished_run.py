"""A run folder is read whole or refused in one line, whatever is missing from it or damaged."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import call
from support.random_runs import compare_folders, draw_runs, write_run

from tencrop.common.errors import BadInput
from tencrop.evaluation.prediction_records import ADDED, SCHEMA, write_records
from tencrop.evaluation.text_comparison import text_comparison

STORED = Path(__file__).parent / "fixtures" / "0.1" / "evaluation" / "predictions.parquet"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    a, b = draw_runs(60)
    return write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)


def test_run_of_version_0_1_is_compared_too(pair: tuple[Path, Path]) -> None:
    as_it_is = compare_folders(pair)
    summary = json.loads((pair[1] / "summary.json").read_text())
    for key in ("no_answer", "subset", "available", "account", "classes", "model_classes"):
        del summary[key]
    (pair[1] / "summary.json").write_text(json.dumps(summary))
    records = pair[1] / "predictions.parquet"
    write_records(records, pq.read_table(records).drop_columns(list(ADDED)))
    assert pq.read_schema(records) == pq.read_schema(STORED)
    assert compare_folders(pair) == as_it_is


def make_unfinished(folder: Path) -> None:
    (folder / "summary.json").unlink()
    (folder / "parts").mkdir()


def drop_a_column(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / "predictions.parquet").drop_columns("label"), folder / "predictions.parquet")


def drop_an_image(folder: Path) -> None:
    write_records(folder / "predictions.parquet", pq.read_table(folder / "predictions.parquet").slice(1))


def set_a_null(folder: Path) -> None:
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    rows[3]["ten_crop_indices"] = None
    write_records(folder / "predictions.parquet", pa.Table.from_pylist(rows, schema=SCHEMA))


def set_six_labels(folder: Path) -> None:
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    rows[3]["ten_crop_indices"] = [1, 2, 3, 4, 5, 6]
    write_records(folder / "predictions.parquet", pa.Table.from_pylist(rows, schema=SCHEMA))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no validation here"),
        (lambda folder: (folder / "summary.json").unlink(), "no validation here"),
        (make_unfinished, "not finished"),
        (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet: missing or damaged"),
        (
            lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1 no more PAR1"),
            "predictions.parquet: missing or damaged",
        ),
        (lambda folder: (folder / "summary.json").write_bytes(b"\xff{"), "summary.json: damaged"),
        (lambda folder: (folder / "summary.json").write_text("[]"), "summary.json: damaged"),
        (lambda folder: (folder / "summary.json").write_text('{"n": 60}'), "summary.json: damaged"),
        (drop_a_column, "has other columns"),
        (drop_an_image, "not the 60 predictions"),
        (set_a_null, "missing or damaged"),
        (set_six_labels, "missing or damaged"),
    ],
)
def test_a_folder_that_is_not_a_finished_run_is_one_line(
    spoil: Any,
    message: str,
    pair: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(pair[1])
    assert call(monkeypatch, "compare", *map(str, pair)) == 2
    stderr = capsys.readouterr().err
    assert message in stderr and str(pair[1]) in stderr and stderr.count("\n") == 1 and stderr.startswith("tencrop: ")


def test_records_damaged_anywhere_are_refused_or_read(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tencrop.evaluation.paired_bootstrap.SAMPLES", 3)
    file, random = pair[1] / "predictions.parquet", np.random.default_rng(6)
    whole, refused = file.read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(len(whole), size=3):
            damaged[at] ^= int(random.integers(1, 256))
        file.write_bytes(
            damaged[: int(random.integers(len(whole) // 2, len(whole) + 1))] if random.random() < 0.3 else damaged
        )
        try:
            text_comparison(compare_folders(pair))
        except BadInput:
            refused += 1
    assert refused > 50
