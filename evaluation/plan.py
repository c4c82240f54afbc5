"""Plan: the images of a data set that are evaluated, each with the index of its true class in the model's labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tencrop.common.errors import BadInput
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.source import Entry, Source
from tencrop.runtime.ensemble import Predictor

CHUNK = 64  # images; the last chunk of a plan may have fewer

Subset = Literal["own", "all"] | float  # the data set's own validation images, all images, or a share of each class


@dataclass(frozen=True)
class Plan:
    """Some images of a data set, in order, and their cut into chunks."""

    data: Source
    entries: Sequence[Entry]
    labels: Sequence[int]  # of each entry, the index of its class in the model's labels
    subset: Subset
    available: int  # images in the subset; more than `entries` where a limit was given
    chunk_size: int  # images

    @property
    def chunk_count(self) -> int:
        """Number of chunks, the last and perhaps shorter one included."""
        return -(-len(self.entries) // self.chunk_size)

    def chunk(self, number: int) -> tuple[Sequence[Entry], Sequence[int]]:
        """The entries of one chunk and their labels."""
        here = slice(number * self.chunk_size, (number + 1) * self.chunk_size)
        return self.entries[here], self.labels[here]


def plan_evaluation(data: Source, model: Predictor, holdout: float = 1, limit: int | None = None) -> Plan:
    """Choose the data set's own validation images or, without any, the share `holdout` of each class.

    `limit` keeps that many of them, evenly spread. The data set's classes are matched with the model's by id.

    Raises BadInput where the model lacks a class of the data set, or where no image is left to evaluate.
    """
    index = {label.id: i for i, label in enumerate(model.contract.labels)}
    unknown = [label.id for label in data.labels if label.id not in index]
    if unknown:
        others = f"{len(unknown)} of {len(data.labels)} classes are not"
        raise BadInput(f"{data.root}: class {unknown[0]!r} is none of the model's ({others})")
    entries: Sequence[Entry] = data.entries.select(choose_holdout(data.entries, holdout))
    available = len(entries)
    if limit is not None and limit < available:
        entries = [entries[i * available // limit] for i in range(limit)]
    if not entries:
        raise BadInput(f"{data.root}: no image left to evaluate")
    labels = [index[data.labels[entry.label].id] for entry in entries]
    return Plan(data, entries, labels, _subset(data, holdout), available, CHUNK)


def _subset(data: Source, holdout: float) -> Subset:
    if data.entries.validation is not None:
        return "own"
    return "all" if holdout == 1 else holdout
