"""FeatureChoice: which features of an image a request asks for."""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from tencrop.model.feature_output import VIEWS


class FeatureChoice(NamedTuple):
    """A layer, and one of VIEWS: the center crop's features, or the mean over the ten views."""

    layer: str
    views: str


def list_choices(layers: Iterable[str]) -> list[FeatureChoice]:
    """All choices of a model that gives these layers, in a fixed order."""
    return [FeatureChoice(layer, views) for layer, views in product(layers, VIEWS)]
