"""RunTiming: when a validation ran and how fast. Stored in run.json, since equal runs have equal summary.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIMING_FILE = "run.json"


@dataclass(frozen=True)
class RunTiming:
    """The time of the call that finished the run. Images of an earlier, stopped call are not counted."""

    started: float  # seconds since 1970
    seconds: float
    images: int
    images_per_s: float
    cores: int  # that the process may use

    def to_json(self) -> dict[str, Any]:
        """The form that run.json holds."""
        return asdict(self)


def read_timing(file: Path) -> RunTiming:
    """Read a run.json. Raises OSError, ValueError or TypeError where it is missing or damaged."""
    return RunTiming(**json.loads(file.read_text(encoding="utf-8")))
