"""The JSON of the HTTP interface."""

from pydantic import BaseModel


class Guess(BaseModel):
    """One label of an answer."""

    index: int
    id: str
    label: str
    probability: float


class ViewVerdict(BaseModel):
    """What one of the ten views alone would say: its box in pixels of the 256x256 square, and its top label."""

    top: int
    left: int
    size: int
    mirrored: bool
    index: int
    label: str
    probability: float


class InputInfo(BaseModel):
    """What the image was; width and height after its EXIF turn."""

    format: str
    mode: str
    width: int
    height: int
    exif_rotated: bool


class Timing(BaseModel):
    """Milliseconds spent decoding, waiting for the engine, and in the forward that the image was part of."""

    decode: float
    queue: float
    engine: float


class Answer(BaseModel):
    """POST /v1/predict."""

    model: str
    engine: str
    device: str
    precision: str
    top: list[Guess]
    input: InputInfo
    timing_ms: Timing
    views: list[ViewVerdict] | None = None


class ModelStatus(BaseModel):
    """A model that is served, and what runs it."""

    name: str
    engine: str
    device: str
    precision: str


class Readiness(BaseModel):
    """GET /readyz."""

    status: str
    models: list[ModelStatus]
