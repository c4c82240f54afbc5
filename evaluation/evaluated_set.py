"""EvaluatedSet: the published test set that a validation is of, as summary.json names it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tencrop.dataset.known_error import KnownError


@dataclass(frozen=True)
class EvaluatedSet:
    """A test set by its name, and the errors that others measured on it."""

    name: str
    among: int | None  # number of classes that a prediction may name; None: all of the model's
    expect: tuple[KnownError, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The form that summary.json holds."""
        return {**asdict(self), "expect": [asdict(error) for error in self.expect]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "EvaluatedSet":
        """From `to_json`. Raises KeyError or TypeError where the document is something else."""
        expect = tuple(KnownError(**error) for error in document["expect"])
        return cls(str(document["name"]), document["among"], expect)
