"""Loaded: what the engine process tells the others once all models answer their probes."""

from collections.abc import Sequence
from typing import NamedTuple

from tencrop.server.loaded_model import LoadedModel


class Loaded(NamedTuple):
    """The models, whether there are validations or what they lack, and whether there is a shadow."""

    models: Sequence[LoadedModel]
    has_jobs: bool
    lacking: str
    has_shadow: bool
