"""Plan: the images of a data set that are evaluated, each with the index of its true class in the model's labels."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.known_sets import NUMBERS, KnownSet, recognize
from tencrop.dataset.names_file import WNID
from tencrop.dataset.objectnet import SEVERAL
from tencrop.dataset.real_labels import RealLabels
from tencrop.dataset.source import Entry, Source
from tencrop.model.measured_errors import Subset
from tencrop.runtime.ensemble import Predictor

CHUNK = 64  # images; the last chunk of a plan may have fewer

Classes = tuple[int, ...]  # indices in the model's labels


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
    also_right: Sequence[Classes] = ()  # of each entry, the other right classes; empty where no entry has any
    known_set: KnownSet | None = None
    among: Classes = ()  # the classes that a prediction may name; empty: all of the model's
    without_label: int | None = None  # images left out because no label is right; None: every image has one

    @property
    def sha256(self) -> str:
        """The hash of the images' ids and true classes, in their order, and of what else may be right or named."""
        images = [[entry.id, label] for entry, label in zip(self.entries, self.labels, strict=True)]
        more = [self.also_right, self.among] if self.also_right or self.among else []
        return hashlib.sha256(json.dumps([*images, *more]).encode()).hexdigest()

    @property
    def chunk_count(self) -> int:
        """Number of chunks, the last and perhaps shorter one included."""
        return -(-len(self.entries) // self.chunk_size)

    def chunk(self, number: int) -> tuple[Sequence[Entry], Sequence[int]]:
        """The entries of one chunk and their labels."""
        here = slice(number * self.chunk_size, (number + 1) * self.chunk_size)
        return self.entries[here], self.labels[here]

    def chunk_also_right(self, number: int) -> Sequence[Classes]:
        """The other right classes of the entries of one chunk; empty where no entry of the plan has any."""
        return self.also_right[number * self.chunk_size : (number + 1) * self.chunk_size]

    def restrict(self, mean: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Restrict probabilities `mean` [n,C] and `views` [n,10,C] to the classes that a prediction may name.

        Those of a view are then as after a softmax over these classes alone, as in timm's validate.py with
        --valid-labels, and the others are 0. A view that gives none of them a probability counts for none.
        """
        if not self.among:
            return mean, views
        named = np.isin(np.arange(views.shape[-1]), self.among)
        kept = np.where(named, views, 0)
        total = kept.sum(-1, keepdims=True)
        kept = kept / np.where(total == 0, 1, total)
        return kept.mean(1), kept


def plan_evaluation(
    data: Source,
    model: Predictor,
    holdout: float = 1,
    limit: int | None = None,
    real_labels: RealLabels | None = None,
) -> Plan:
    """Choose the data set's own validation images or, without any, the share `holdout` of each class.

    `limit` keeps that many of them, evenly spread. The data set's classes are matched with the model's by id. With
    `real_labels` these are the right ones, and images for which none is right are left out. A known test set restricts
    what a prediction may name to its own classes.

    Raises BadInput where the model lacks a class of the data set, or where no image is left to evaluate.
    """
    known = recognize(data)
    classes = _match_classes(data, model, known)
    chosen = data.entries.select(choose_holdout(data.entries, holdout))
    without = None
    if real_labels:
        listed = len(chosen)
        chosen = chosen.select(np.array([bool(real_labels.find(id)) for id in chosen.ids.to_pylist()], bool))
        without = listed - len(chosen)
    available = len(chosen)
    entries: Sequence[Entry] = chosen
    if limit is not None and limit < available:
        entries = [entries[i * available // limit] for i in range(limit)]
    if not entries:
        raise BadInput(f"{data.root}: no image left to evaluate")
    right = [classes[entry.label] for entry in entries]
    if real_labels:
        right = _find_real(entries, right, real_labels, _rank_wnids(data, model, "--real-labels"))
    among = {index for indices in classes for index in indices} if known else set()
    return Plan(
        data,
        entries,
        [first for first, *_ in right],
        _subset(data, holdout),
        available,
        len(np.unique(chosen.labels)),
        CHUNK,
        [indices[1:] for indices in right] if any(len(indices) > 1 for indices in right) else (),
        known,
        tuple(sorted(among)) if len(among) < len(model.contract.labels) else (),
        without,
    )


def _find_real(
    entries: Sequence[Entry], own: Sequence[Classes], real: RealLabels, ranked: Sequence[int]
) -> list[Classes]:
    """Find the right classes of each entry. Its class in the data set comes first where it is right."""
    found = []
    for entry, (label, *_) in zip(entries, own, strict=True):
        indices = [ranked[position] for position in real.find(entry.id)]
        first = [label] if label in indices else []
        found.append(tuple(dict.fromkeys([*first, *indices])))
    return found


def _match_classes(data: Source, model: Predictor, known: KnownSet | None) -> list[Classes]:
    """Find each of the data set's classes among the model's: by its id, or by the positions that a known set has.

    Raises BadInput where the model lacks one, which says how the ids of both look.
    """
    index = {label.id: i for i, label in enumerate(model.contract.labels)}
    unknown = [label.id for label in data.labels if label.id not in index]
    if unknown and known and known.is_numbered:
        ranked = _rank_wnids(data, model, known.name)
        return [tuple(ranked[int(position)] for position in label.id.split(SEVERAL)) for label in data.labels]
    if unknown:
        first, own = unknown[0], next(iter(index))
        matched = f"{len(data.labels) - len(unknown)} of {len(data.labels)} classes match"
        raise BadInput(
            f"{data.root}: class {first!r} is none of the model's ({matched}; the model's ids are like {own!r})",
            _advise_on_ids(first, own, index),
        )
    return [(index[label.id],) for label in data.labels]


def _rank_wnids(data: Source, model: Predictor, what: str) -> list[int]:
    """The indices of ImageNet's 1,000 classes in the model's labels, in the order of their wnids.

    Raises BadInput where the model has others. `what` counts classes in that order.
    """
    wnids = sorted((label.id, index) for index, label in enumerate(model.contract.labels) if WNID.fullmatch(label.id))
    if len(wnids) != len(NUMBERS):
        raise BadInput(
            f"{data.root}: {what} numbers the {len(NUMBERS)} wnids of ImageNet, and the model has {len(wnids)}",
            "take a model of ImageNet, imported with a --labels FILE that has its wnids",
        )
    return [index for _, index in wnids]


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
