"""MeasuredErrors: how often a model is wrong, as the summary.json of its validation says that lies beside its file."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Share, parse

SUMMARY_FILE = "summary.json"
VIEWS = {"center": "center crop", "ten_crop": "ten views"}  # the two kinds of prediction, in words

Subset = Literal["own", "all"] | float  # the data set's own validation images, all images, or a share of each class


@dataclass(frozen=True, config=STRICT)
class ErrorRates:
    """Fractions that are wrong. An image without an answer is wrong in both."""

    top1_error: Share
    top5_error: Share


@dataclass(frozen=True, config=STRICT)
class ErrorsByViews:
    """The error rates by each kind of prediction."""

    center: ErrorRates  # of the center crop
    ten_crop: ErrorRates  # of the mean over the ten views


@dataclass(frozen=True, config=STRICT)
class MeasuredErrors:
    """The part of a summary.json that says how often the model is wrong, and on which images."""

    dataset: str  # name of the data set's folder
    subset: Subset
    n: Count  # images
    precision: str  # that the answers were computed in
    center: ErrorRates  # over all images
    ten_crop: ErrorRates
    mean_over_classes: ErrorsByViews | None = None  # older versions kept none


def read_measured_errors(folder: Path, sha256: str) -> MeasuredErrors | None:
    """Read the errors of the model with this sha256 from the summary.json of its folder.

    None where the folder has no summary.json, or one of another model. Raises BadInput where it is damaged.
    """
    if not (folder / SUMMARY_FILE).exists():
        return None
    measured, errors = read_model_and_errors(folder / SUMMARY_FILE)
    return errors if measured == sha256 else None


def read_model_and_errors(file: Path) -> tuple[str, MeasuredErrors]:
    """Read a summary.json: the sha256 of the model that was evaluated, and its errors.

    Raises BadInput where the file cannot be read, or is no summary.
    """
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        document = {"subset": document.get("images")} | document  # its name in version 0.1
        sha256 = str(document["model"]["sha256"])
        known = {name: document[name] for name in MeasuredErrors.__dataclass_fields__ if name in document}
        return sha256, parse(MeasuredErrors, known, str(file))
    except BadInput as error:
        raise BadInput(error.what, "evaluate again, or remove it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{file}: damaged, or not of a validation", "evaluate again, or remove it") from None
