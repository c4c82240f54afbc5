"""Origin: the licence and the training data of the embedded model's weights, which no file of a model says."""

from functools import cache
from typing import NamedTuple

from tencrop.model.checkpoint import hash_weights
from tencrop.model.embedded import EMBEDDED


class Origin(NamedTuple):
    """Who may use some weights, and what they were trained on."""

    license: str  # by its identifier on the Hugging Face hub
    datasets: tuple[str, ...]  # identifiers there
    trained_on: str  # Markdown


EMBEDDED_ORIGIN = Origin(
    license="apache-2.0",
    datasets=("HuggingFaceM4/Caltech-101",),
    trained_on="6,585 photographs of Caltech-101 and no others. The data set is by Li, Andreeto, Ranzato and Perona "
    "(CaltechDATA, <https://doi.org/10.22002/D1.20086>), under CC BY 4.0",
)


@cache
def _embedded_sha256() -> str:
    return hash_weights(EMBEDDED / "checkpoint")


def find_origin(checkpoint_sha256: str) -> Origin | None:
    """The origin of the checkpoint with this hash of its weights: the embedded model's, None for every other."""
    return EMBEDDED_ORIGIN if checkpoint_sha256 == _embedded_sha256() else None
