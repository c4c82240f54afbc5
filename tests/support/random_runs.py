"""Finished runs with random records, for the tests that read and compare them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tencrop.evaluation.compare import compare
from tencrop.evaluation.finished_run import open_run
from tencrop.evaluation.prediction_records import SCHEMA, count_errors, write_records
from tencrop.evaluation.summary import EvaluatedModel, Summary
from tencrop.model.measured_errors import ErrorRates

Row = dict[str, Any]  # as prediction_records.SCHEMA
KINDS = ("center", "ten_crop")


def draw_answer(random: np.random.Generator, classes: int) -> tuple[list[int], list[float]]:
    probabilities = np.sort(random.dirichlet(np.ones(classes)).astype(np.float32))[::-1][:5]
    return [int(i) for i in random.permutation(classes)[: len(probabilities)]], [float(p) for p in probabilities]


def draw_runs(images: int, classes: int = 8) -> tuple[list[Row], list[Row]]:
    """The records of two runs that agree on most images; every ninth is undecodable in A, every eleventh in B."""
    random = np.random.default_rng(images)
    runs: tuple[list[Row], list[Row]] = ([], [])
    for number in range(images):
        label, alike = int(random.integers(classes)), {kind: draw_answer(random, classes) for kind in KINDS}
        for rows, step in zip(runs, (9, 11), strict=True):
            row: Row = {"id": f"{number % 7}/{number}.jpg", "label": label, "no_answer": False}
            row["undecodable"] = number % step == step - 1
            for kind in KINDS:
                given = alike[kind] if random.random() < 0.7 else draw_answer(random, classes)
                row[f"{kind}_indices"], row[f"{kind}_probabilities"] = ([], []) if row["undecodable"] else given
            rows.append(row)
    return runs


def write_run(folder: Path, rows: list[Row]) -> Path:
    """Write the files of a finished run that `compare` reads."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_records(folder / "predictions.parquet", table)
    summary = Summary(
        n=len(rows),
        undecodable=sum(row["undecodable"] for row in rows),
        no_answer=sum(row["no_answer"] for row in rows),
        center=ErrorRates(**count_errors(table, "center").to_dict()),
        ten_crop=ErrorRates(**count_errors(table, "ten_crop").to_dict()),
        engine="openvino",
        device="cpu",
        precision="fp32",
        model=EvaluatedModel(folder.name, "0"),
        contract_sha256="1",
        dataset="photos",
        subset="all",
        available=len(rows),
    )
    (folder / "summary.json").write_text(json.dumps(summary.to_json()))
    (folder / "run.json").write_text("{}")
    return folder


def compare_folders(pair: tuple[Path, Path], show: int = 10) -> dict[str, Any]:
    return compare(open_run(pair[0]), open_run(pair[1]), show)
