"""RealLabels: all right labels of ILSVRC-2012's images for validation, as ImageNet-ReaL's real.json has them.

Beyer et al. 2020, https://github.com/google-research/reassessed-imagenet. An image has one label, several or none.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tencrop.common.errors import BadInput, one_line

IMAGES, CLASSES = 50_000, 1000
NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")
ADVICE = "give real.json of google-research/reassessed-imagenet"


@dataclass(frozen=True)
class RealLabels:
    """The labels of each image, in the order of the images' numbers, as positions among the sorted wnids."""

    file: Path
    positions: tuple[tuple[int, ...], ...]

    def find(self, id: str) -> tuple[int, ...]:
        """Find the labels of an image by its name. Raises BadInput where it is none of the images."""
        match = NUMBER.search(id.rpartition("/")[2])
        if not match or not 0 < int(match[1]) <= len(self.positions):
            raise BadInput(
                f"--real-labels: {id} is no image ILSVRC2012_val_00000001 to {IMAGES:08}",
                "it is for ILSVRC-2012's validation images under their own names",
            )
        return self.positions[int(match[1]) - 1]


def read_real_labels(file: Path) -> RealLabels:
    """Read a list of 50,000 lists of labels in JSON. Raises BadInput where the file is something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON ({one_line(error)})", ADVICE) from None
    if not isinstance(found, list) or len(found) != IMAGES:
        raise BadInput(f"{file}: is no list of {IMAGES} lists", ADVICE)
    odd = next((number for number, labels in enumerate(found, 1) if not _are_labels(labels)), None)
    if odd:
        raise BadInput(f"{file}: image {odd} has {one_line(json.dumps(found[odd - 1]))}, no list of labels", ADVICE)
    return RealLabels(file, tuple(map(tuple, found)))


def _are_labels(labels: object) -> bool:
    return isinstance(labels, list) and all(type(label) is int and 0 <= label < CLASSES for label in labels)
