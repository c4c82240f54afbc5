"""The JSON of GET /v1/shadow and POST /v1/feedback."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class RightCounts(BaseModel):
    """Numbers of labelled images by who was right; kept across restarts."""

    both: int
    only_model: int
    only_shadow: int
    neither: int


class ShadowState(BaseModel):
    """The answer of GET /v1/shadow. All but `right` counts from the start of the server.

    compared: answers of `model` that `shadow` was asked for, too. dropped: answers that were not compared, for lack of
    time or of an answer. waiting: answers that are going to be compared. disagreement: the share of the compared
    answers with another first label, and its 95 % interval (Wilson); null before the first. right: null without
    --feedback.
    """

    model: str
    shadow: str
    since: datetime
    compared: int
    dropped: int
    waiting: int
    disagreements: int
    disagreement: float | None
    interval: tuple[float, float] | None
    right: RightCounts | None


class NewFeedback(BaseModel):
    """The body of POST /v1/feedback: the id of a request of one image, and the id or name of the image's label."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"request": "0f3c9b", "label": "sunflower"}]}
    )

    request: str = Field(pattern="^[A-Za-z0-9_.:-]{1,64}$")
    label: str = Field(min_length=1, max_length=1024)


class Feedback(BaseModel):
    """The answer of POST /v1/feedback: ids of the true label, and of the first labels of the model and its shadow."""

    request: str
    label: str
    model: str
    shadow: str
