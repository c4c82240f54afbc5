"""The JSON of the HTTP interface."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tencrop.runtime.prediction import Guess
from tencrop.server.answered import Answered

MAX_TOP = 1000  # labels in an answer
MAX_INTEGER = 2**53  # every JSON reader keeps integers up to this one exact
FINISHED = ("done", "failed", "cancelled")  # of Validation.status


EXAMPLE: dict[str, Any] = {  # of /v1/predict?top=2
    "model": "caltech101",
    "engine": "openvino",
    "device": "cpu",
    "precision": "bf16",
    "model_sha256": "4c1f0d2b7e0f7e9a0a7c9b1d5f3e8a6b2c4d6e8f0a1b3c5d7e9f1a3b5c7d9e1f",
    "contract_sha256": "9d2e4f6a8b0c1d3e5f7a9b1c3d5e7f9a1b3c5d7e9f0a2b4c6d8e0f1a3b5c7d9e",
    "decoder": "Pillow 12.1.0, libjpeg-turbo 3.1.2",
    "top": [
        {"index": 50, "id": "helicopter", "label": "helicopter", "probability": 0.2623},
        {"index": 12, "id": "bonsai", "label": "bonsai", "probability": 0.1395},
    ],
    "agreement": 5,
    "input": {"format": "JPEG", "mode": "RGB", "width": 640, "height": 427, "exif_rotated": False},
    "timing_ms": {"decode": 5.16, "queue": 0.15, "engine": 15.18},
}


MODEL = "a served model; the first by default"  # the description of a parameter
TIMING = "add timing_ms; the header Server-Timing has it in any case"
COVERAGE = "add the set of labels that hold the right one as often as this, of a model that is calibrated for it"


class PredictParameters(BaseModel):
    """The query of POST /v1/predict and of /v1/predict/batch."""

    top: int = Field(default=5, ge=1, le=MAX_TOP, description="how many labels")
    model: str | None = Field(default=None, description=MODEL)
    views: bool = Field(default=False, description="add the most probable label of each of the ten views")
    coverage: float | None = Field(default=None, gt=0, lt=1, description=COVERAGE)
    timing: bool = Field(default=True, description=TIMING)


class ViewVerdict(BaseModel):
    """The most probable label of one view alone, and the view's box in pixels of the R x R square."""

    top: int
    left: int
    size: int
    mirrored: bool
    index: int
    id: str
    label: str
    probability: float


class InputInfo(BaseModel):
    """The image as it was sent; width and height after EXIF's rotation."""

    format: str
    mode: str
    width: int
    height: int
    exif_rotated: bool


class Timing(BaseModel):
    """Milliseconds of decoding, of waiting for the engine, and of the forward pass that computed the image."""

    decode: float
    queue: float
    engine: float


class Answer(Answered):
    """The answer of POST /v1/predict.

    Without `timing_ms` it depends on the image, the model, its engine and the parameters alone. `model_sha256` is the
    hash of the model's file, `contract_sha256` that of its contract, and `decoder` names the libraries that decoded.
    The answers of a calibrated model have `confidence`. `set` stands there for a `coverage` alone: the labels that hold
    the right one so often, on images like those that the model was calibrated on.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    top: list[Guess]
    agreement: int = Field(ge=0, le=10, description="how many of the ten views have the first label as their own")
    set: list[Guess] | None = None
    input: InputInfo
    timing_ms: Timing | None = None
    views: list[ViewVerdict] | None = None


class ErrorBody(BaseModel):
    """A word for programs and a line for people."""

    code: str
    message: str


class Failure(BaseModel):
    """The error object. In a batch it stands in for the image that failed."""

    error: ErrorBody


class ProtocolFailure(BaseModel):
    """The error object of the Open Inference Protocol, under /v2."""

    error: str


class BatchAnswer(BaseModel):
    """The answer of POST /v1/predict/batch, in the order of the images."""

    results: list[Answer | Failure]


class HubParameters(BaseModel):
    """Parameters of the Hugging Face hub's task image-classification. The net ends with a softmax."""

    top_k: int | None = Field(default=None, ge=1, le=MAX_TOP)
    function_to_apply: Literal["softmax"] | None = None


class HubRequest(BaseModel):
    """The JSON body of POST /v1/image-classification; `inputs` is the image in base64."""

    inputs: str = Field(json_schema_extra={"format": "byte"})
    parameters: HubParameters = HubParameters()


class HubGuess(BaseModel):
    """One label in the form that the hub's clients read."""

    label: str
    score: float


class ModelStatus(BaseModel):
    """A served model, the engine, device and precision that compute its answers, and the bytes that they come from.

    `sha256` is the hash of the model's file; of an ensemble it is the hash of its members' hashes. `coverages` are
    those that the model is calibrated for; none where it is not calibrated. `features` are the layers whose features
    /v1/features gives.
    """

    name: str
    engine: str
    device: str
    precision: str
    sha256: str
    contract_sha256: str
    decoder: str
    coverages: list[float]
    features: list[str]


class Readiness(BaseModel):
    """The answer of GET /readyz."""

    status: str
    models: list[ModelStatus]


class NewValidation(BaseModel):
    """The body of POST /v1/validations.

    `dataset` is a path below the server's data root; `model` a served model, the first by default; `limit` the number
    of images, all by default. `holdout` is the share of each class to evaluate where the data set has no validation
    images of its own.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dataset": "photos", "limit": 1000}]})

    dataset: str = Field(min_length=1, max_length=1024)
    model: str | None = Field(default=None, max_length=256)
    limit: int | None = Field(default=None, ge=1, le=MAX_INTEGER, strict=True)
    holdout: float = Field(default=1, ge=0, le=1, strict=True)


class Folders(BaseModel):
    """The answer of GET /v1/folders."""

    folders: list[str]


class Validation(BaseModel):
    """A job: the answer of GET /v1/validations/ID, and the content of job.json.

    `images` of `total` are evaluated; `images_per_s` is their speed since the job last started or continued.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    dataset: str
    model: str
    limit: int | None
    holdout: float = 1  # jobs of older versions lack the field
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    images: int = 0
    total: int | None = None
    images_per_s: float | None = None
    error: str | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    summary: dict[str, Any] | None = None  # summary.json, once done
