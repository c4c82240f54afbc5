"""Settings of the server: a default for each, changed by a flag or by the environment (TENCROP_QUEUE_VIEWS=...)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, lower_first
from tencrop.images.limits import MAX_BYTES
from tencrop.runtime.engine import batch_size
from tencrop.runtime.ensemble import Predictor

PREFIX = "TENCROP_"
QUEUE_FORWARDS = (
    16  # images of so many forward passes may be admitted; a CPU of two cores computes them in about a second
)


HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*", re.ASCII)
ROOT = re.compile(r"(/[\w.~-]+)*/?", re.ASCII)
SHADOW = re.compile(r"[^=]+=.+", re.DOTALL)
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)


def _check_not_empty(value: str | Path) -> str | Path:
    """Return the value. Raises ValueError for an empty string, which Path would take for the current folder."""
    if value == "":
        raise ValueError("names no folder or file")
    return value


def _split_names(value: Any) -> Any:
    """Split text of an environment variable at its commas."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


def _read_auto(value: Any) -> Any:
    """Return None for "auto"."""
    return None if value == "auto" else value


def _check_hosts(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the names in lower case. Raises ValueError for a name that no Host header could hold."""
    for name in names or ():
        if not HOST_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no host name; write example.com, *.example.com or *")
    return names and tuple(name.lower() for name in names)


def _check_origins(origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the origins. Raises ValueError for an origin that no browser sends."""
    for origin in origins or ():
        if not ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin; write https://example.com, with its port if it has one, or *")
    return origins


def _check_shadow(text: str | None) -> str | None:
    """Return the text. Raises ValueError for what is not NAME=MODEL."""
    if text is not None and not SHADOW.fullmatch(text):
        raise ValueError(f"{text!r} is not NAME=MODEL; write old=models/old")
    return text


def _check_root(path: str) -> str:
    """Return the path without a slash at its end. Raises ValueError for what is no path."""
    if path and not ROOT.fullmatch(path):
        raise ValueError(f"{path!r} is no path; write /tencrop")
    return path.removesuffix("/")


NamedPath = Annotated[Path, BeforeValidator(_check_not_empty)]


Names = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split_names)]


class Settings(BaseSettings):
    """Limits whose cost depends on views are given in views; one image has ten."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1)
    workers: Annotated[int | None, BeforeValidator(_read_auto)] = Field(default=None, ge=0, le=256)  # None: by cores
    allowed_host: Annotated[Names, AfterValidator(_check_hosts)] = None  # further names of a server on loopback
    cors_origins: Annotated[Names, AfterValidator(_check_origins)] = None  # whose pages may read answers; None: no page
    port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int | None = Field(default=None, ge=0, le=65535)  # None: no gRPC; 0: any free port
    forward_views: int | None = Field(default=None, ge=10)  # of a forward pass; None: by the device, as in a validation
    queue_views: int | None = Field(default=None, ge=10)  # admitted at once, more is 429; None: by QUEUE_FORWARDS
    root_path: Annotated[str, AfterValidator(_check_root)] = ""  # the sub-path below which clients see the server
    keep_alive_seconds: int = Field(default=5, ge=1)  # until a connection without a request is closed
    max_body_bytes: int = Field(default=MAX_BYTES, ge=1)  # of one request; more is 413
    max_bodies_bytes: int = Field(default=192 << 20, ge=1)  # of all unanswered requests; more is 429
    body_seconds: float = Field(default=20, gt=0)  # until a body is complete; later is 504
    deadline_seconds: float = Field(default=30, gt=0)  # from a complete body to the answer; later is 504
    drain_seconds: int = Field(default=20, ge=0)  # from SIGTERM until admitted requests have to be answered
    data_root: NamedPath | None = None  # of validations and of indexes; None: both are off
    api_key_file: NamedPath | None = None  # /v1 and /v2 answer only the owners of its keys; None: everybody
    access_log: bool = True  # a line of JSON on stdout for each request
    otel: bool = False  # send OpenTelemetry's spans, as its own variables OTEL_... say
    keep_validations: int = Field(default=100, ge=1)  # finished ones; the oldest go first
    state_dir: NamedPath = Path("tencrop-state")  # keeps validation jobs and what a shadow keeps; else not created
    model_repository: NamedPath | None = None  # its models may be loaded and unloaded; None: no model changes
    poll: float | None = Field(default=None, ge=0.1)  # seconds between two looks at its files; None: they do not count
    shadow: Annotated[str | None, AfterValidator(_check_shadow)] = None  # NAME=MODEL, compared with the first model
    feedback: bool = False  # keep the answers of both for labels that come later
    keep_disagreements: int = Field(default=0, ge=0, le=100_000)  # squares, the newest

    def forward_images(self, model: Predictor) -> int:
        """The largest batch of one forward pass."""
        if self.forward_views:
            return max(1, self.forward_views // len(model.contract.views))
        return batch_size(model.engine)

    def queue_images(self, model: Predictor) -> int:
        """The number of the model's images that may be admitted at once."""
        if self.queue_views:
            return max(1, self.queue_views // len(model.contract.views))
        return QUEUE_FORWARDS * self.forward_images(model)


def read_settings(**flags: str | float | Sequence[str] | None) -> Settings:
    """Settings from flags (None: not given), then the environment, then the defaults.

    Raises BadInput for a bad value, and for a TENCROP_ variable that is no setting.
    """
    known = {(PREFIX + name).upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        advice = did_you_mean(unknown[0], known, f"known are {', '.join(sorted(known))}")
        raise BadInput(f"{unknown[0]}: no such setting", advice)
    given: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"setting {'.'.join(map(str, first['loc']))}: {lower_first(first['msg'])}") from None
