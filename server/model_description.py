"""The JSON of GET /v1/models and /v1/models/NAME."""

from typing import Annotated

from pydantic import BaseModel

from tencrop.common.strict_config import left_out
from tencrop.model.contract import Decoding
from tencrop.model.measured_errors import MeasuredErrors
from tencrop.server.schemas import ModelStatus


class ServedLabel(BaseModel):
    """One class: its index among the probabilities, its id and words."""

    index: int
    id: str
    label: str


class Preprocessing(BaseModel):
    """The contract without its labels: how an image becomes ten views. `sha256` is the hash that reports quote."""

    resize: int
    crop: int
    filter: str
    channels: str
    decode: Decoding
    center_rounding: Annotated[str, left_out("down")] = "down"
    sha256: str


class ModelEntry(ModelStatus):
    """A served model in a list, with its number of classes."""

    classes: int


class ModelList(BaseModel):
    """The answer of GET /v1/models. The labels of each model are at /v1/models/NAME."""

    models: list[ModelEntry]


class ModelMember(BaseModel):
    """One net of an ensemble."""

    name: str
    sha256: str


class ServedCalibration(BaseModel):
    """The images that a model was calibrated on, and the name of the map that gives its confidences."""

    map: str
    dataset: str
    dataset_sha256: str
    n: int
    engine: str
    precision: str


class ModelDescription(ModelEntry):
    """The answer of GET /v1/models/NAME.

    `members` are the nets of an ensemble, empty for one net. `errors` are those of the summary.json beside the model's
    file, null where there is none of this model. `calibration` is null where the model is not calibrated.
    """

    contract: Preprocessing
    members: list[ModelMember]
    errors: MeasuredErrors | None
    calibration: ServedCalibration | None
    labels: list[ServedLabel]
