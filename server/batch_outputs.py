"""BatchOutputs: what a forward pass gave for a batch, and the result of each of its images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tencrop.model.feature_output import choose_views
from tencrop.model.tencropfile import OUTPUTS
from tencrop.runtime.ensemble import Predictor
from tencrop.runtime.prediction import NoAnswer
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.waiting import BatchedAnswer, Result


class BatchOutputs(NamedTuple):
    """The rows of N images, and the features of those that asked for some."""

    probabilities: np.ndarray  # [N,C]
    view_probabilities: np.ndarray  # [N,10,C]
    features: Mapping[int, np.ndarray]  # [K], by the index of the image

    @classmethod
    def compute(cls, engine: Predictor, squares: np.ndarray, choices: Sequence[FeatureChoice | None]) -> "BatchOutputs":
        """Run one forward pass of squares, uint8 [>=N,R,R,3], of which the first N have these choices.

        The net computes features in any case: they are read where an image of the batch asked for them.
        """
        asked = {index: choice for index, choice in enumerate(choices) if choice}
        layers = list(dict.fromkeys(choice.layer for choice in asked.values()))
        values: Sequence[np.ndarray] = ()
        if layers:
            (net,) = engine.members  # an ensemble gives no features
            mean, views, *values = net.compute(squares, (*OUTPUTS, *layers))
        else:
            mean, views = engine.forward(squares)
        by_layer = dict(zip(layers, values, strict=True))
        features = {
            index: choose_views(by_layer[choice.layer][index, None], choice.views)[0] for index, choice in asked.items()
        }
        return cls(mean[: len(choices)], views[: len(choices)], features)

    def make_results(self, queue_seconds: Sequence[float], engine_seconds: float) -> list[Result]:
        """The answer of each image, with its own and the batch's seconds; NoAnswer where a value is no number."""
        rows = zip(self.probabilities, self.view_probabilities, queue_seconds, strict=True)
        results: list[Result] = [
            BatchedAnswer(*row, engine_seconds, self.features.get(index)) for index, row in enumerate(rows)
        ]
        is_number = np.isfinite(self.probabilities).all(axis=1)
        for index, values in self.features.items():
            is_number[index] &= np.isfinite(values).all()
        for unanswered in np.flatnonzero(~is_number):
            results[unanswered] = NoAnswer()
        return results
