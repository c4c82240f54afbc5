"""Loaded: what the engine process tells the others once all models answer their probes."""

from collections.abc import Sequence
from typing import NamedTuple

from tencrop.server.loaded_model import LoadedModel


class Loaded(NamedTuple):
    """The models, and whether there are validations or what they lack."""

    models: Sequence[LoadedModel]
    has_jobs: bool
    lacking: str
