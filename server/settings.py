"""Settings of the server: sane by default, changed by flag or by environment (TENCROP_QUEUE_VIEWS=...)."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tencrop.common.errors import BadInput
from tencrop.runtime.engine import batch_size
from tencrop.runtime.ensemble import Predictor

PREFIX = "TENCROP_"
QUEUED = 16  # forwards; on a CPU of two cores they take about a second


def _named(value: str | Path) -> str | Path:
    """Raises ValueError for an empty string, which Path would take for the folder that the server happens to be in."""
    if value == "":
        raise ValueError("names no folder or file")
    return value


NamedPath = Annotated[Path, BeforeValidator(_named)]


class Settings(BaseSettings):
    """Limits in views where the cost is in views: one image is ten."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=0, le=65535)
    forward_views: int | None = Field(
        default=None, ge=10
    )  # at most this many in one forward; else by the device, as a validation's
    queue_views: int | None = Field(
        default=None, ge=10
    )  # more than this admitted is answered 429; else QUEUED forwards
    max_body_bytes: int = Field(default=32 << 20, ge=1)
    max_bodies_bytes: int = Field(default=256 << 20, ge=1)  # of all requests that are not yet answered; more is 429
    body_seconds: float = Field(default=20, gt=0)  # a body that takes longer is cut off
    deadline_seconds: float = Field(default=30, gt=0)  # an answer that takes longer is 504
    drain_seconds: int = Field(default=20, ge=0)  # what is admitted at SIGTERM may take this long
    data_root: NamedPath | None = None  # data sets under it may be validated; without one, validations are off
    api_key_file: NamedPath | None = None  # with one, /v1 and /v2 answer only who has a key of it
    access_log: bool = True  # a line of JSON a request on stdout
    state_dir: NamedPath = Path("tencrop-state")  # validation jobs are kept here; made only where there is a data root

    def forward_images(self, model: Predictor) -> int:
        """At most so many in one forward of it."""
        return (
            max(1, self.forward_views // len(model.contract.views)) if self.forward_views else batch_size(model.engine)
        )

    def queue_images(self, model: Predictor) -> int:
        """So many of its images may be admitted at once."""
        return (
            max(1, self.queue_views // len(model.contract.views))
            if self.queue_views
            else QUEUED * self.forward_images(model)
        )


def read_settings(**flags: str | int | None) -> Settings:
    """Flags that were given, over the environment, over the defaults. Raises BadInput, for an unknown variable too."""
    known = {(PREFIX + name).upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise BadInput(f"{unknown[0]}: no such setting; known are {', '.join(sorted(known))}")
    given: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"setting {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
