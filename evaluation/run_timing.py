"""RunTiming: when a validation ran and how fast. Stored as run.json, apart from the summary, which equal runs share."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIMING_FILE = "run.json"


@dataclass(frozen=True)
class RunTiming:
    """Of the call that finished the run; images that an earlier, stopped call evaluated are not counted."""

    started: float  # seconds since 1970
    seconds: float
    images: int
    images_per_s: float
    cores: int  # that the process may use

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return asdict(self)


def read_timing(file: Path) -> RunTiming:
    """Read a run.json. Raises OSError, ValueError or TypeError where it is missing or damaged."""
    return RunTiming(**json.loads(file.read_text(encoding="utf-8")))
