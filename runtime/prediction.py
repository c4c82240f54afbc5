"""A classifier's answer to one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tencrop.images.errors import ImageError
from tencrop.model.calibration import Calibration, count_set
from tencrop.model.contract import Label
from tencrop.model.metrics import TOP, count_agreement, top_k

NO_NUMBER = "the model's answer to this image is no number"


class NoAnswer(ImageError):
    """The net's probabilities are not numbers, as those of a net that divides by an image's contrast."""

    code = "no_answer"

    def __init__(self, what: str = NO_NUMBER, advice: str = "") -> None:
        super().__init__(what, advice)


@dataclass(frozen=True)
class Guess:
    """One class: its index among the labels, its id and words, and its probability (mean over the ten views).

    `confidence` is the frequency with which such an answer is right; None where the model is not calibrated.
    """

    index: int
    id: str
    label: str
    probability: float
    confidence: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The most probable classes of one image, the best first, and the probabilities that they come from.

    `probabilities` is float32 [C], the mean of the ten views' softmaxes; `view_probabilities` is float32 [10,C].
    `set` has the labels that hold the right one as often as the coverage says; None where no coverage was asked for.
    """

    top: list[Guess]
    probabilities: np.ndarray
    view_probabilities: np.ndarray
    set: list[Guess] | None = None

    @classmethod
    def from_probabilities(
        cls,
        probabilities: np.ndarray,
        view_probabilities: np.ndarray,
        labels: Sequence[Label],
        top: int = TOP,
        calibration: Calibration | None = None,
        threshold: float | None = None,
    ) -> "Prediction":
        """Name the `top` classes (fewer where there are fewer), and those of the set of this lowest probability.

        Raises NoAnswer where a probability is not a number.
        """
        in_set = 0 if threshold is None else int(count_set(probabilities, threshold))
        indices = top_k(probabilities, max(top, in_set)).tolist()
        if indices[0] < 0:
            raise NoAnswer
        confidences = calibration.map.apply(probabilities, view_probabilities) if calibration else None
        guesses = [
            Guess(
                index,
                labels[index].id,
                labels[index].name,
                float(probabilities[index]),
                None if confidences is None else float(confidences[index]),
            )
            for index in indices
        ]
        found = None if threshold is None else guesses[:in_set]
        return cls(guesses[:top], probabilities, view_probabilities, found)

    @property
    def label(self) -> str:
        """The words of the most probable class."""
        return self.top[0].label

    @property
    def agreement(self) -> int:
        """The number of views, of ten, whose own most probable class is that of the answer."""
        return int(count_agreement(np.array([self.top[0].index]), self.view_probabilities[None])[0])

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
