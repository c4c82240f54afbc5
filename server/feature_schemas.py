"""The JSON of /v1/features and /v1/neighbours."""

from typing import Literal

from pydantic import BaseModel, Field

from tencrop.server.answered import Answered
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


class FeatureAnswer(Answered):
    """The features of an image, and what they are of. The other fields are those of /v1/predict.

    A number is float32, written in full: it equals the one that `tencrop features` gives.
    """

    layer: str
    views: str
    features: list[float]
    input: InputInfo
    timing_ms: Timing | None = None


class FeatureBatch(BaseModel):
    """The answer of POST /v1/features/batch, in the order of the images."""

    results: list[FeatureAnswer | Failure]


class NeighbourParameters(BaseModel):
    """The query of POST /v1/neighbours."""

    index: str = Field(min_length=1, max_length=1024, description="a file of `tencrop features` below the data root")
    dataset: str | None = Field(
        default=None, max_length=1024, description="the folder of its images; the index without .parquet by default"
    )
    top: int = Field(default=6, ge=1, le=100, description="how many images")
    thumbnails: bool = Field(default=False, description="add the images themselves, small")
    model: str | None = Field(default=None, description=MODEL)
    timing: bool = Field(default=True, description=TIMING)


class NearImage(BaseModel):
    """An image of an index, and the Euclidean distance of its features from those of the image that was sent.

    `thumbnail` is a data URL. Where one was asked for and there is none, `without_thumbnail` says why.
    """

    distance: float
    id: str
    label: str
    thumbnail: str | None = None
    without_thumbnail: str | None = None


class NeighbourAnswer(Answered):
    """The answer of POST /v1/neighbours, the nearest image first. `layer` and `views` are those of the index."""

    index: str
    layer: str
    views: str
    neighbours: list[NearImage]
    input: InputInfo
    timing_ms: Timing | None = None
