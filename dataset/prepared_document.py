"""The documents of a prepared store: plan.json describes source and settings, prepared.json adds counts of images."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, left_out, parse
from tencrop.model.contract import DECODING, FULL_DECODING, Contract, Decoding

PLAN = "plan.json"


@dataclass(frozen=True)
class PreparationPlan:
    """The source and the settings of a prepared store. Field names and their order are stored.

    A store of JPEGs leaves `store` out, as in files from before 0.3.
    """

    contract: Contract
    holdout: float | None  # share of each class for validation; None: the data set has validation images of its own
    images: int
    ids: str  # SHA-256 of ids, labels and the data set's own split
    quality: int | None  # of the JPEGs; None in a raw store
    part: int  # images per part
    store: Annotated[str, left_out("jpeg")] = field(default="jpeg", kw_only=True)  # or raw

    def to_json(self) -> str:
        """Convert the document to JSON."""
        return json.dumps(dump(self), indent=1, ensure_ascii=False)

    def write_or_check(self, file: Path) -> None:
        """Write the plan, or compare it with the one in `file`, so that two data sets never mix in one folder.

        Raises BadInput where they differ.
        """
        if not file.exists():
            write_atomic(file, self.to_json())
        elif file.read_bytes() != self.to_json().encode():
            raise BadInput(
                f"{file.parent}: holds another prepared data set (or other settings)", "choose an empty folder"
            )


@dataclass(frozen=True)
class PreparedDocument(PreparationPlan):
    """A plan that was carried out, with the number of images in each split."""

    training: int
    validation: int
    undecodable: list[str]  # ids of the images that were left out
    bytes_per_image: int  # mean
    account: dict[str, Any]  # of all images of the source, as Account.to_json writes it


def choose_decoding(plan: Path) -> Decoding:
    """The decoding of a store's plan, so that one of an older version is finished as it was begun; or today's.

    A plan that cannot be read is another one, which `write_or_check` refuses.
    """
    try:
        stored = json.loads(plan.read_bytes())["contract"].get("decode")
        return FULL_DECODING if stored is None else parse(Decoding, stored, str(plan))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, BadInput):  # none, or damaged
        return DECODING
