"""MeasuredErrors: how often a model is wrong, as the summary.json of its validation says that lies beside its file."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import STRICT, Count, Share, parse

SUMMARY_FILE = "summary.json"
VIEWS = {"center": "center crop", "ten_crop": "ten views"}  # the two kinds of prediction, in words

Images = Annotated[Count, Field(le=2**53)]  # a larger one may be no float, which intervals are computed in
Subset = Literal["own", "all"] | float  # the data set's own validation images, all images, or a share of each class


@dataclass(frozen=True, config=STRICT)
class ErrorRates:
    """Fractions that are wrong. An image without an answer is wrong in both."""

    top1_error: Share
    top5_error: Share

    def by_top(self) -> dict[str, float]:
        """Both errors by their names for people."""
        return {"top-1": self.top1_error, "top-5": self.top5_error}


@dataclass(frozen=True, config=STRICT)
class ErrorsByViews:
    """The error rates by each kind of prediction."""

    center: ErrorRates  # of the center crop
    ten_crop: ErrorRates  # of the mean over the ten views


class ErrorRow(NamedTuple):
    """A row of a table of errors. `images` is None in a mean over classes."""

    words: str
    rates: ErrorRates
    images: int | None


@dataclass(frozen=True, config=STRICT)
class MeasuredErrors:
    """The part of a summary.json that says how often the model is wrong, and on which images."""

    dataset: str  # name of the data set's folder
    subset: Subset
    n: Images
    available: Images  # images in the subset; a limit makes `n` smaller
    precision: str  # that the answers were computed in
    center: ErrorRates  # over all images
    ten_crop: ErrorRates
    mean_over_classes: ErrorsByViews | None = None  # older versions kept none

    def rows(self) -> list[ErrorRow]:
        """The errors as a table: over images, and the means over classes where they are known."""
        rows = [ErrorRow(words, getattr(self, kind), self.n) for kind, words in VIEWS.items()]
        if means := self.mean_over_classes:
            rows += [ErrorRow(f"{w}, mean over classes", getattr(means, kind), None) for kind, w in VIEWS.items()]
        return rows

    def describe_images(self) -> str:
        """Which images, in words."""
        chosen: dict[Subset, str] = {"own": "the data set's own for validation", "all": "all of the data set"}
        count = f"{self.n:,}" if self.n == self.available else f"{self.n:,}, evenly spread, of {self.available:,}"
        return f"{count} images: {chosen.get(self.subset, f'a share of {self.subset} of each class, held out')}"


def read_measured_errors(folder: Path, sha256: str) -> MeasuredErrors | None:
    """Read the errors of the model with this sha256 from the summary.json of its folder.

    None where the folder has no summary.json, or one of another model. Raises BadInput where it is damaged.
    """
    if not (folder / SUMMARY_FILE).is_file():  # a named pipe would never end
        return None
    measured, errors = read_model_and_errors(folder / SUMMARY_FILE)
    return errors if measured == sha256 else None


def read_model_and_errors(file: Path) -> tuple[str, MeasuredErrors]:
    """Read a summary.json: the sha256 of the model that was evaluated, and its errors.

    Raises BadInput where the file cannot be read, or is no summary.
    """
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        document = {"subset": document.get("images"), "available": document.get("among")} | document  # names in 0.1
        sha256 = str(document["model"]["sha256"])
        known = {name: document[name] for name in MeasuredErrors.__dataclass_fields__ if name in document}
        return sha256, parse(MeasuredErrors, known, str(file))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})", "`tencrop evaluate --out` writes it") from None
    except BadInput as error:
        raise BadInput(error.what, "evaluate again, or remove it") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{file}: damaged, or not of a validation", "evaluate again, or remove it") from None
