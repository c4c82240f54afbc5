"""Source: a labelled data set, whatever its layout. Its images are listed once and read in any order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Inventory
from tencrop.images.file_name import SUFFIXES
from tencrop.model.contract import Label

BLOCK = 10_000  # entries that are Python objects at the same time
ProgressCallback = Callable[[int], None]  # called with the number of images listed so far


class NoImages(BadInput):
    """The files of a data set hold no labelled image."""


class Entry(NamedTuple):
    """One image: `id` is its path within the data set, `label` the index of its class."""

    id: str
    label: int
    validation: bool | None = None  # None: the data set has no validation images of its own
    place: tuple[int, ...] = ()  # position of the image's bytes; each layout has its own form


@dataclass(frozen=True, eq=False)
class Entries(Sequence[Entry]):
    """All images of a data set, stored in columns: about 70 bytes per image, for there may be 1.3 million."""

    ids: pa.Array  # string [n], unique
    labels: np.ndarray  # int32 [n]
    validation: np.ndarray | None  # bool [n]
    places: np.ndarray  # int64 [n,k]

    @classmethod
    def collect(cls, root: Path, entries: Iterable[Entry], progress: ProgressCallback) -> "Entries":
        """Collect entries. Raises NoImages where there are none, BadInput where two have the same id."""
        stream, ids, columns = iter(entries), [], []
        count = 0
        while block := list(islice(stream, BLOCK)):
            ids.append(pa.array([entry.id for entry in block], pa.string()))
            labels = np.array([entry.label for entry in block], np.int32)
            validation = np.array([bool(entry.validation) for entry in block])
            columns.append((labels, validation, np.array([entry.place for entry in block], np.int64)))
            progress(count := count + len(block))
        if not columns:
            raise NoImages(f"{root}: holds no images ({', '.join(sorted(SUFFIXES))})")
        labels, validation, places = (np.concatenate(column) for column in zip(*columns, strict=True))
        return cls.from_columns(root, pa.concat_arrays(ids), labels, validation, places)

    @classmethod
    def from_columns(
        cls, root: Path, ids: pa.Array, labels: np.ndarray, validation: np.ndarray, places: np.ndarray
    ) -> "Entries":
        """Make entries from columns; no validation image means no split. Raises BadInput where two ids are equal."""
        blocks = (ids[start : start + BLOCK].to_pylist() for start in range(0, len(ids), BLOCK))
        hashes = np.concatenate([np.fromiter(map(hash, block), np.int64, len(block)) for block in blocks])
        if len(np.unique(hashes)) < len(ids):  # an id twice, or (hardly ever) two ids with the same hash
            counts = pc.value_counts(ids)
            twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
            if len(twice):
                raise BadInput(f"{root}: holds {twice[0].as_py()!r} twice", "remove one of them")
        return cls(ids, labels, validation if validation.any() else None, places)

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> "Entries": ...
    def __getitem__(self, index: int | slice) -> "Entry | Entries":
        validation = None if self.validation is None else self.validation[index]
        if isinstance(index, slice):
            return Entries(self.ids[index], self.labels[index], validation, self.places[index])
        held = None if validation is None else bool(validation)
        return Entry(self.ids[index].as_py(), int(self.labels[index]), held, tuple(self.places[index].tolist()))

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), BLOCK):
            block = self[start : start + BLOCK]
            validation = [None] * len(block) if block.validation is None else block.validation.tolist()
            places = map(tuple, block.places.tolist())
            yield from map(Entry, block.ids.to_pylist(), block.labels.tolist(), validation, places)

    def select(self, mask: np.ndarray) -> "Entries":
        """Select the entries where the mask, bool [n], is True."""
        validation = None if self.validation is None else self.validation[mask]
        return Entries(self.ids.filter(pa.array(mask)), self.labels[mask], validation, self.places[mask])


class Source(Protocol):
    """A labelled data set, whatever its layout."""

    @property
    def root(self) -> Path:
        """The folder that the user named."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes; an entry's label is an index into them."""

    @property
    def entries(self) -> Entries:
        """The images, in the order in which they are read fastest."""

    @property
    def inventory(self) -> Inventory:
        """The counts of what was seen and left out when the images were listed."""

    def read(self, entry: Entry) -> bytes:
        """Read the encoded image. Several threads may call this at once.

        Raises OSError where it has vanished since it was listed, ImageMissing for a link whose target is missing,
        ImageTooLarge before an image of more than MAX_BYTES is read.
        """


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8 text. On Linux a file name may be any bytes, and JSON has half characters."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def ignore_progress(count: int) -> None:
    """Ignore the number of images, for callers that show no progress."""
