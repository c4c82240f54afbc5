"""A classifier's answer to one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tencrop.images.errors import ImageError
from tencrop.model.contract import Label
from tencrop.model.metrics import TOP, top_k

NO_NUMBER = "the model's answer to this image is no number"


class NoAnswer(ImageError):
    """The net's probabilities are not numbers, as those of a net that divides by an image's contrast."""

    code = "no_answer"

    def __init__(self, what: str = NO_NUMBER, advice: str = "") -> None:
        super().__init__(what, advice)


@dataclass(frozen=True)
class Guess:
    """One class: its index among the labels, its id and words, and its probability (mean over the ten views)."""

    index: int
    id: str
    label: str
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The most probable classes of one image, the best first, and the probabilities that they come from.

    `probabilities` is float32 [C], the mean of the ten views' softmaxes; `view_probabilities` is float32 [10,C].
    """

    top: list[Guess]
    probabilities: np.ndarray
    view_probabilities: np.ndarray

    @classmethod
    def from_probabilities(
        cls, probabilities: np.ndarray, view_probabilities: np.ndarray, labels: Sequence[Label], top: int = TOP
    ) -> "Prediction":
        """Name the `top` classes (fewer where there are fewer). Raises NoAnswer where a probability is not a number."""
        indices = top_k(probabilities, top).tolist()
        if indices[0] < 0:
            raise NoAnswer
        guesses = [Guess(index, labels[index].id, labels[index].name, float(probabilities[index])) for index in indices]
        return cls(guesses, probabilities, view_probabilities)

    @property
    def label(self) -> str:
        """The words of the most probable class."""
        return self.top[0].label

    def __repr__(self) -> str:
        return f"<Prediction {', '.join(f'{guess.label} {guess.probability:.1%}' for guess in self.top)}>"

    def _repr_html_(self) -> str:
        """A table of labels and bars, for notebooks."""
        bar = "background:linear-gradient(90deg,#8ab4f8 {share:.1f}%,transparent 0);min-width:12em;text-align:left"
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(guess.label)}</td>'
            f'<td style="{bar.format(share=100 * guess.probability)}">{guess.probability:.1%}</td></tr>'
            for guess in self.top
        )
        return f"<table>{rows}</table>"
