"""The JSON of the HTTP interface."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tencrop.runtime.prediction import Guess

MAX_TOP = 1000  # labels in an answer
MAX_INTEGER = 2**53  # that every JSON reader keeps exact
FINISHED = ("done", "failed", "cancelled")  # of Validation.status


EXAMPLE: dict[str, Any] = {  # of /v1/predict?top=2
    "model": "caltech101",
    "engine": "openvino",
    "device": "cpu",
    "precision": "bf16",
    "top": [
        {"index": 50, "id": "helicopter", "label": "helicopter", "probability": 0.2623},
        {"index": 12, "id": "bonsai", "label": "bonsai", "probability": 0.1395},
    ],
    "input": {"format": "JPEG", "mode": "RGB", "width": 640, "height": 427, "exif_rotated": False},
    "timing_ms": {"decode": 5.16, "queue": 0.15, "engine": 15.18},
}


class ViewVerdict(BaseModel):
    """What one of the ten views alone would say: its box in pixels of the R x R square, and its top label."""

    top: int
    left: int
    size: int
    mirrored: bool
    index: int
    id: str
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

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    model: str
    engine: str
    device: str
    precision: str
    top: list[Guess]
    input: InputInfo
    timing_ms: Timing
    views: list[ViewVerdict] | None = None


class ErrorBody(BaseModel):
    """What went wrong: a word for programs, a line for people."""

    code: str
    message: str


class Failure(BaseModel):
    """Every answer that is none; in a batch, in the place of its image."""

    error: ErrorBody


class ProtocolFailure(BaseModel):
    """The same under /v2, as the Open Inference Protocol has it."""

    error: str


class BatchAnswer(BaseModel):
    """POST /v1/predict/batch."""

    results: list[Answer | Failure]


class HubParameters(BaseModel):
    """Of the Hugging Face hub's task image-classification; softmax is what the net ends with."""

    top_k: int | None = Field(default=None, ge=1, le=MAX_TOP)
    function_to_apply: Literal["softmax"] | None = None


class HubRequest(BaseModel):
    """POST /v1/image-classification as JSON; `inputs` is the image in base64."""

    model_config = ConfigDict(val_json_bytes="base64")

    inputs: bytes = Field(json_schema_extra={"format": "byte"})
    parameters: HubParameters = HubParameters()


class HubGuess(BaseModel):
    """One label, as the hub's clients read it."""

    label: str
    score: float


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


class NewValidation(BaseModel):
    """POST /v1/validations: a data set by its path below --data-root, a served model (else the first), this many images (else all).

    `holdout`: of a data set without validation images of its own only this share of each class, as `tencrop evaluate --holdout`.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dataset": "photos", "limit": 1000}]})

    dataset: str = Field(min_length=1, max_length=1024)
    model: str | None = Field(default=None, max_length=256)
    limit: int | None = Field(default=None, ge=1, le=MAX_INTEGER, strict=True)
    holdout: float = Field(default=1, ge=0, le=1, strict=True)


class Validation(BaseModel):
    """GET /v1/validations/ID, and a job's job.json; `images` of `total` are done, `images_per_s` since the job last went on."""

    model_config = ConfigDict(frozen=True)

    id: str
    dataset: str
    model: str
    limit: int | None
    holdout: float = 1  # older jobs have none
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    images: int = 0
    total: int | None = None
    images_per_s: float | None = None
    error: str | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    summary: dict[str, Any] | None = None  # summary.json, once done
