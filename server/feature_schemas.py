"""The JSON of /v1/features."""

from typing import Literal

from pydantic import BaseModel, Field

from tencrop.server.schemas import MODEL, TIMING, Failure, InputInfo, Timing


class FeatureParameters(BaseModel):
    """The query of POST /v1/features and of /v1/features/batch."""

    model: str | None = Field(default=None, description=MODEL)
    layer: Literal["fc7", "fc6", "pool5"] | None = Field(
        default=None, description="a layer whose features the model gives; its first by default"
    )
    views: Literal["center", "ten"] = Field(
        default="center", description="center: of the center crop; ten: the mean over the ten views"
    )
    timing: bool = Field(default=True, description=TIMING)


class FeatureAnswer(BaseModel):
    """The features of an image, and what they are of. The other fields are those of /v1/predict.

    A number is float32, written in full: it equals the one that `tencrop features` gives.
    """

    model: str
    engine: str
    device: str
    precision: str
    model_sha256: str
    contract_sha256: str
    decoder: str
    layer: str
    views: str
    features: list[float]
    input: InputInfo
    timing_ms: Timing | None = None


class FeatureBatch(BaseModel):
    """The answer of POST /v1/features/batch, in the order of the images."""

    results: list[FeatureAnswer | Failure]
