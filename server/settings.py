"""Settings of the server: sane by default, changed by flag or by environment (TENCROP_QUEUE_VIEWS=...)."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Limits in views where the cost is in views: one image is ten."""

    model_config = SettingsConfigDict(env_prefix="TENCROP_", extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    forward_views: int = Field(default=80, ge=10)  # at most this many in one forward
    queue_views: int = Field(default=2560, ge=10)  # more waiting than this is answered 429
    max_body_bytes: int = Field(default=32 << 20, ge=1)
    body_seconds: float = Field(default=20, gt=0)  # a body that takes longer is cut off
    deadline_seconds: float = Field(default=30, gt=0)  # an answer that takes longer is 504
    drain_seconds: int = Field(default=20, ge=0)  # what is admitted at SIGTERM may take this long
