"""The fields of every answer that say what computed it."""

from pydantic import BaseModel


class Engine(BaseModel):
    """Engine, device and precision that compute a model's answers, and the bytes that the answers come from."""

    engine: str
    device: str
    precision: str
    model_sha256: str
    contract_sha256: str
    decoder: str


class Named(BaseModel):
    """The name of a model."""

    model: str


class Answered(Engine, Named):
    """A model's name, and the engine that computes its answers. The fields of the last base come first in the JSON."""
