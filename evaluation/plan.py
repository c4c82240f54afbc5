"""Plan: the images of a data set that are evaluated, each with the index of its true class in the model's labels."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.names_file import WNID
from tencrop.dataset.source import Entry, Source
from tencrop.model.measured_errors import Subset
from tencrop.runtime.ensemble import Predictor

CHUNK = 64  # images; the last chunk of a plan may have fewer


@dataclass(frozen=True)
class Plan:
    """Some images of a data set, in order, and their cut into chunks."""

    data: Source
    entries: Sequence[Entry]
    labels: Sequence[int]  # of each entry, the index of its class in the model's labels
    subset: Subset
    available: int  # images in the subset; more than `entries` where a limit was given
    classes: int  # that these images have
    chunk_size: int  # images

    @property
    def sha256(self) -> str:
        """The hash of the images' ids and true classes, in their order."""
        images = json.dumps([[entry.id, label] for entry, label in zip(self.entries, self.labels, strict=True)])
        return hashlib.sha256(images.encode()).hexdigest()

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
    index = _match_classes(data, model)
    chosen = data.entries.select(choose_holdout(data.entries, holdout))
    available, classes = len(chosen), len(np.unique(chosen.labels))
    entries: Sequence[Entry] = chosen
    if limit is not None and limit < available:
        entries = [entries[i * available // limit] for i in range(limit)]
    if not entries:
        raise BadInput(f"{data.root}: no image left to evaluate")
    labels = [index[entry.label] for entry in entries]
    return Plan(data, entries, labels, _subset(data, holdout), available, classes, CHUNK)


def _match_classes(data: Source, model: Predictor) -> list[int]:
    """Find the data set's classes among the model's by their ids: the index of each.

    Raises BadInput where the model lacks one, which says how the ids of both look.
    """
    index = {label.id: i for i, label in enumerate(model.contract.labels)}
    unknown = [label.id for label in data.labels if label.id not in index]
    if unknown:
        first, own = unknown[0], next(iter(index))
        matched = f"{len(data.labels) - len(unknown)} of {len(data.labels)} classes match"
        raise BadInput(
            f"{data.root}: class {first!r} is none of the model's ({matched}; the model's ids are like {own!r})",
            _advise_on_ids(first, own, index),
        )
    return [index[label.id] for label in data.labels]


def _advise_on_ids(data: str, model: str, ids: Iterable[str]) -> str:
    """The advice where classes of a data set and of a model differ, given an id of each, and all of the model's."""
    if WNID.fullmatch(model) and not WNID.fullmatch(data):
        return f'--labels FILE with lines "{model} name" gives the data set\'s classes their wnids'
    if model.isdecimal() or (WNID.fullmatch(data) and not WNID.fullmatch(model)):
        return f"import the model with a --labels FILE that has ids like {data!r}, in the order of its outputs"
    otherwise = "rename or remove such classes, or give their ids in a --labels FILE"
    return otherwise if WNID.fullmatch(data) else did_you_mean(data, ids, otherwise)


def _subset(data: Source, holdout: float) -> Subset:
    if data.entries.validation is not None:
        return "own"
    return "all" if holdout == 1 else holdout
