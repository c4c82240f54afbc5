"""KnownSet: a published test set of ImageNet's classes, and the error that torchvision's AlexNet has on it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tencrop.dataset.known_error import KnownError
from tencrop.dataset.names_file import WNID
from tencrop.dataset.objectnet import CLASSES, MAPPINGS
from tencrop.dataset.source import Source

TESTBED = "https://github.com/modestyachts/imagenet-testbed/blob/28477dc7912df34bed05ccdb4da963dbb91dd1b4/robustness_top1s.csv"
NUMBERS = [str(position) for position in range(1000)]  # the folders of ImageNet-V2


@dataclass(frozen=True)
class KnownSet:
    """A test set, and what tells that a data set is it; what is empty or False tells nothing."""

    name: str
    ids: str = ""  # hash_ids of its classes
    file: str = ""  # lies in its folder
    folder: str = ""  # part of its folder's name
    image: str = ""  # begin of its images' names; its classes are then 1,000 wnids
    is_numbered: bool = False  # ids of its classes are positions among ImageNet's sorted wnids
    alexnet: float | None = None  # top-1 error of torchvision's AlexNet in TESTBED, in percent

    @property
    def expect(self) -> tuple[KnownError, ...]:
        """The errors to expect; empty where no source has one."""
        return () if self.alexnet is None else (KnownError("torchvision's AlexNet", "center", self.alexnet, TESTBED),)

    def fits(self, source: Source, ids: Sequence[str]) -> bool:
        """Return whether a data set with these ids of classes is this one."""
        sketches = len(ids) == len(NUMBERS) and all(map(WNID.fullmatch, ids))
        first = source.entries[0].id.rpartition("/")[2]
        return (
            self.ids in ("", hash_ids(ids))
            and (not self.file or (source.root / self.file).is_file())
            and self.folder in source.root.resolve().name.lower()
            and (not self.image or (sketches and first.startswith(self.image)))
        )


def hash_ids(ids: Sequence[str]) -> str:
    """The first 16 digits of the SHA-256 of the sorted ids, a line each."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


V2 = hash_ids(NUMBERS)
KNOWN_SETS = (  # the first that fits counts
    KnownSet("ImageNet-A", "f6aa4b23244554d9", alexnet=98.23),
    KnownSet("ImageNet-R", "e19a59d84e3746fa", alexnet=78.23),
    KnownSet("ImageNet-Sketch", image="sketch_", alexnet=89.28),
    KnownSet("ImageNet-V2 matched-frequency", V2, folder="matched-frequency", is_numbered=True, alexnet=56.57),
    KnownSet("ImageNet-V2 threshold-0.7", V2, folder="threshold", is_numbered=True, alexnet=48.92),
    KnownSet("ImageNet-V2 top-images", V2, folder="top", is_numbered=True, alexnet=42.10),
    KnownSet("ImageNet-V2", V2, is_numbered=True),
    KnownSet("ObjectNet", file=f"{MAPPINGS}/{CLASSES}", is_numbered=True, alexnet=86.14),
    KnownSet("Imagenette", "7fd320a0db9278e1"),
    KnownSet("ImageNet-100", "d61d354b64beb3ce"),
)


def recognize(source: Source) -> KnownSet | None:
    """Find the known test set that a data set is."""
    ids = [label.id for label in source.labels]
    return next((known for known in KNOWN_SETS if known.fits(source, ids)), None)
