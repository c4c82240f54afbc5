"""Made-up validations of any size, for the tests of the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tencrop.dataset.account import Account, Inventory
from tencrop.dataset.source import Entries, Entry
from tencrop.evaluation.agreement import count_by_agreement
from tencrop.evaluation.prediction_records import SCHEMA, SCORES
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.reliability import CalibratedEce
from tencrop.evaluation.report import html_report
from tencrop.evaluation.run_timing import RunTiming
from tencrop.evaluation.scores import Scores, ScoresByViews
from tencrop.evaluation.summary import EvaluatedModel, Summary
from tencrop.model.contract import Label
from tencrop.model.measured_errors import ErrorRates
from tencrop.model.published_errors import PublishedError

HOSTILE = '<img src=x onerror="hacked=1"></script><script>hacked=1</script> & \'quotes\' "and" ‮םולש‬ 🦎 ' + "w" * 300


@dataclass(frozen=True)
class Photographs:
    """A data set of any size whose every image is the one photograph."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    photograph: bytes
    gone: frozenset[str] = frozenset()  # ids
    inventory: Inventory = field(default_factory=Inventory)

    def read(self, entry: Entry) -> bytes:
        if entry.id in self.gone:
            raise FileNotFoundError(2, "No such file or directory")
        return self.photograph


@dataclass(frozen=True)
class Validation:
    """The arguments of html_report."""

    summary: Summary
    timing: RunTiming
    table: pa.Table
    data: Photographs

    def page(self) -> str:
        return html_report(self.summary, self.timing, self.table, self.data.labels, self.data, self.data.entries)

    def rows(self) -> list[dict[str, Any]]:
        return list(self.table.to_pylist())


def make_validation(
    photograph: bytes,
    n: int,
    classes: int,
    *,
    k: int = 5,
    undecodable: Sequence[int] = (),
    no_answer: Sequence[int] = (),
    skill: float = 0.6,
) -> Validation:
    """Make seeded predictions of k labels for n images; the first class is never right, the last class has no image."""
    random = np.random.default_rng(n)
    labels = np.sort((random.random(n) ** 3 * (classes - 1)).astype(np.int32))  # large classes and small ones
    off = np.where((random.random(n) < skill) & (labels > 0), 0, random.integers(1, classes, n))
    top = ((labels + off)[:, None] + np.arange(k)) % classes
    probabilities = -np.sort(-random.dirichlet(np.ones(k + 1), n).astype(np.float32)[:, :k], axis=1)
    broken, unanswered = np.isin(np.arange(n), undecodable), np.isin(np.arange(n), no_answer)
    lost = broken | unanswered
    ids = [f"class{label:04d}/{i:06d}.jpg" for i, label in enumerate(labels)]
    columns = {"id": pa.array(ids), "label": pa.array(labels), "undecodable": pa.array(broken)}
    columns["no_answer"] = pa.array(unanswered)
    for kind in ("center", "ten_crop"):
        columns[f"{kind}_indices"] = make_lists(top.astype(np.int32), lost)
        columns[f"{kind}_probabilities"] = make_lists(probabilities, lost)
    columns["class_name"] = pa.array([f"words of {label}" for label in labels]).dictionary_encode()
    hit = top == labels[:, None]
    scores: dict[str, np.ndarray] = {name: random.random(n).astype(np.float32) for name in SCORES}
    for kind in ("center", "ten_crop"):
        scores[f"{kind}_true_probability"] = np.where(
            hit.any(1), (probabilities * hit).sum(1), probabilities[:, -1] / 2
        )
    scores["view_agreement"] = np.clip(random.integers(0, 4, n) + 9 * probabilities[:, 0], 0, 10).astype(np.int8)
    columns |= {name: pa.array(drawn, SCHEMA.field(name).type, mask=lost) for name, drawn in scores.items()}
    columns["also_right"] = pa.array([()] * n, SCHEMA.field("also_right").type)
    columns["reason"] = pa.array(np.where(broken, "damaged_image", ""))
    columns["message"] = pa.array(np.where(broken, "damaged image: it cannot be decoded", ""))
    names = tuple(Label(f"n{c:08d}", f"words of {c}") for c in range(classes))
    data = Photographs(
        Path("photos"), names, Entries(columns["id"], labels, None, np.zeros((n, 0), np.int64)), photograph
    )
    table = pa.table(columns, schema=SCHEMA)
    return Validation(
        Summary(
            n=n,
            undecodable=len(undecodable),
            no_answer=len(no_answer),
            center=ErrorRates(0.1, 0.05),
            ten_crop=ErrorRates(0.08, 0.04),
            engine="openvino",
            device="cpu",
            precision="bf16",
            model=EvaluatedModel("net", "a1" * 32),
            contract_sha256="b2" * 32,
            dataset="photos",
            subset="all",
            available=n,
            account=Account.close(Inventory(seen=n), n, ["damaged_image"] * len(undecodable)),
            scores=ScoresByViews(make_scores(n, 0.2), make_scores(n, 0.05)),
            agreement=count_by_agreement(Predictions.from_table(table)),
        ),
        RunTiming(started=1352937600.0, seconds=4000.0, images=n, images_per_s=n / 4000, cores=2),
        table,
        data,
    )


def make_scores(n: int, ece: float) -> Scores:
    """Make up the scores of n images."""
    return Scores(n, 1.25, 0.5, ece, CalibratedEce(0.03, 0.02, 0.04), 0.005, 0.004)


def make_hostile(photograph: bytes) -> Validation:
    """Make a validation in which every text would do harm as HTML."""
    given = make_validation(photograph, 200, 12, undecodable=(7,))
    labels = tuple(Label(f"{HOSTILE}{c}", f"{c}{HOSTILE}") for c in range(12))
    ids = pa.array([f"{HOSTILE}/{i}.jpg" for i in range(200)])
    published = (PublishedError(HOSTILE, "center", 39.0, 18.3),)
    model = EvaluatedModel(HOSTILE, "a1" * 32)
    inventory = Inventory(seen=200)
    inventory.pass_over(f"1.{HOSTILE}")
    inventory.note_unread(HOSTILE)
    account = Account.close(inventory, 200, [HOSTILE], [HOSTILE])
    summary = replace(given.summary, model=model, dataset=HOSTILE, published=published, account=account)
    data = replace(given.data, labels=labels, entries=replace(given.data.entries, ids=ids))
    return Validation(summary, given.timing, given.table.set_column(0, "id", ids), data)


def make_lists(values: np.ndarray, broken: np.ndarray) -> pa.ListArray:
    """Make a list of each row of an array [n,k], an empty one where `broken`."""
    offsets = np.concatenate([[0], np.cumsum(np.where(broken, 0, values.shape[1]))])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values[~broken].ravel()))
