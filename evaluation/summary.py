"""Summary: the errors of a validation, and which model, engine and images they belong to. Stored as summary.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.dataset.account import Account
from tencrop.evaluation.agreement import AgreementErrors
from tencrop.evaluation.evaluated_set import EvaluatedSet
from tencrop.evaluation.intervals import ErrorIntervals
from tencrop.evaluation.scores import ScoresByViews
from tencrop.evaluation.set_coverage import SetCoverages
from tencrop.model.measured_errors import ErrorRates, ErrorsByViews, Subset
from tencrop.model.published_errors import PublishedError

Part = TypeVar("Part")  # of a summary


@dataclass(frozen=True)
class EvaluatedModel:
    """A model by its name and the SHA-256 of its file; `members` are the nets of an ensemble, empty for one net."""

    name: str
    sha256: str
    members: tuple["EvaluatedModel", ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form that summary.json holds."""
        members = {"members": [net.to_json() for net in self.members]} if self.members else {}
        return {"name": self.name, "sha256": self.sha256, **members}


@dataclass(frozen=True)
class Summary:
    """The result of a validation over `n` images."""

    n: int
    undecodable: int  # images that could not be decoded
    no_answer: int  # decoded images whose probabilities are not finite
    center: ErrorRates  # over all images, of the center crop
    ten_crop: ErrorRates  # over all images, of the mean over the ten views
    engine: str
    device: str
    precision: str
    model: EvaluatedModel
    contract_sha256: str
    dataset: str  # name of the data set's folder
    subset: Subset
    available: int  # images in the subset; a limit makes `n` smaller
    published: tuple[PublishedError, ...] = ()  # what the 2012 nets of this recipe reached
    account: Account | None = None  # of all images of the data set; version 0.1 kept none
    classes: int | None = None  # that the subset's images have; version 0.1 kept neither number
    model_classes: int | None = None  # that a prediction may name
    mean_over_classes: ErrorsByViews | None = None  # of those that have images; older versions kept none
    intervals: ErrorIntervals | None = None  # of the errors, 95 %; older versions kept none of these three
    scores: ScoresByViews | None = None  # None also where no image has an answer
    test_set: EvaluatedSet | None = None  # None: not a known one
    without_label: int | None = None  # images left out for they have no right label; None: every image has one
    agreement: tuple[AgreementErrors, ...] = ()  # of the ten views, for each number of views that agree
    sets: SetCoverages | None = None  # of a calibrated model
    decoder: str | None = None  # the libraries that decoded; older versions kept none

    def to_json(self) -> dict[str, Any]:
        """The form that summary.json holds. `images` and `among` are older names of `subset` and `available`."""
        return {
            "n": self.n,
            "undecodable": self.undecodable,
            "no_answer": self.no_answer,
            "center": asdict(self.center),
            "ten_crop": asdict(self.ten_crop),
            "mean_over_classes": asdict(self.mean_over_classes) if self.mean_over_classes else None,
            "intervals": dump(self.intervals) if self.intervals else None,
            "scores": dump(self.scores) if self.scores else None,
            "agreement": [dump(errors) for errors in self.agreement],
            "sets": dump(self.sets) if self.sets else None,
            "engine": self.engine,
            "device": self.device,
            "precision": self.precision,
            "model": self.model.to_json(),
            "contract_sha256": self.contract_sha256,
            "decoder": self.decoder,
            "dataset": self.dataset,
            "images": self.subset,
            "among": self.available,
            "subset": self.subset,
            "available": self.available,
            "classes": self.classes,
            "model_classes": self.model_classes,
            "expect": [asdict(error) for error in self.published],
            "account": self.account.to_json() if self.account else None,
            **({"test_set": self.test_set.to_json()} if self.test_set else {}),
            **({"without_label": self.without_label} if self.without_label is not None else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Summary":
        """From summary.json of this version, or of an older one, which lacks some of the keys.

        Raises BadInput, ValueError, KeyError, TypeError or AttributeError where the document is no summary.
        """
        text = {key: str(document[key]) for key in ("engine", "device", "precision", "contract_sha256", "dataset")}
        return cls(
            n=int(document["n"]),
            undecodable=int(document["undecodable"]),
            no_answer=int(document.get("no_answer", 0)),
            center=ErrorRates(**document["center"]),
            ten_crop=ErrorRates(**document["ten_crop"]),
            model=_read_model(document["model"]),
            subset=document["subset" if "subset" in document else "images"],
            available=int(document["available" if "available" in document else "among"]),
            published=tuple(PublishedError(**error) for error in document["expect"]),
            account=Account.from_json(document["account"]) if document.get("account") else None,
            classes=_read_count(document.get("classes")),
            model_classes=_read_count(document.get("model_classes")),
            test_set=EvaluatedSet.from_json(document["test_set"]) if "test_set" in document else None,
            without_label=_read_count(document.get("without_label")),
            mean_over_classes=_read(ErrorsByViews, document.get("mean_over_classes")),
            intervals=_read(ErrorIntervals, document.get("intervals")),
            scores=_read(ScoresByViews, document.get("scores")),
            agreement=_read(tuple[AgreementErrors, ...], document.get("agreement")) or (),
            sets=_read(SetCoverages, document.get("sets")),
            decoder=_read(str, document.get("decoder")),
            **text,
        )


def read_summary(file: Path) -> Summary:
    """Read a summary.json. Raises BadInput where it cannot be read, or holds something else."""
    try:
        return Summary.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (BadInput, OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{file}: damaged, or not of a validation", "evaluate again") from None


def _read_count(value: Any) -> int | None:
    return None if value is None else int(value)


def _read(kind: type[Part], document: Any) -> Part | None:
    return None if document is None else parse(kind, document, "summary.json")


def _read_model(document: Mapping[str, Any]) -> EvaluatedModel:
    members = tuple(_read_model(net) for net in document.get("members", ()))
    return EvaluatedModel(str(document["name"]), str(document["sha256"]), members)
