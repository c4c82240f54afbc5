"""JobStore: validation jobs on disk. A job has a folder <state-dir>/validations/ID with job.json and its run."""

import logging
import re
import shutil
import time
from pathlib import Path
from secrets import token_hex
from typing import IO

from pydantic import ValidationError

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.server.schemas import Validation
from tencrop.server.settings import Settings
from tencrop.server.state_folder import lock_state_folder

ID = re.compile(r"[0-9a-f]{24}")  # nanoseconds since 1970, so that ids sort by time, and 32 random bits
GONE = ".gone"  # ends the name of a folder that is being removed
JOB = "job.json"

log = logging.getLogger("uvicorn.error")


def make_id() -> str:
    """A new job's id, which sorts behind all earlier ids."""
    return f"{time.time_ns():016x}{token_hex(4)}"


class JobStore:
    """The folder of all jobs, and the root of their data sets. `lock` is a file that is locked until `close`."""

    def __init__(self, data_root: Path, folder: Path, lock: IO[str]) -> None:
        self.data_root, self.folder, self._lock = data_root, folder, lock

    def run_folder(self, job_id: str) -> Path:
        """The folder of a job's run."""
        return self.folder / job_id / "run"

    def save(self, job: Validation) -> None:
        """Write a job's job.json. Raises OSError."""
        folder = self.folder / job.id
        folder.mkdir(exist_ok=True)
        write_atomic(folder / JOB, job.model_dump_json(indent=1) + "\n")

    def read(self) -> dict[str, Validation]:
        """All jobs, the oldest first. Logs and skips a damaged folder; removes a folder whose removal had begun."""
        jobs = {}
        for folder in sorted(self.folder.iterdir()):
            if folder.name.endswith(GONE):
                shutil.rmtree(folder, ignore_errors=True)
            elif ID.fullmatch(folder.name):
                try:
                    jobs[folder.name] = Validation.model_validate_json((folder / JOB).read_bytes())
                except (OSError, ValidationError):
                    log.warning("%s: no whole %s in it; left alone", folder, JOB)
        return {job_id: job for job_id, job in jobs.items() if job.id == job_id}

    def remove(self, job_id: str) -> None:
        """Remove a job's folder; a removal that is interrupted ends at the next start. Raises OSError."""
        gone = (self.folder / job_id).rename(self.folder / (job_id + GONE))
        shutil.rmtree(gone, ignore_errors=True)

    def close(self) -> None:
        """Unlock the folder for another server."""
        self._lock.close()


def open_job_store(settings: Settings) -> JobStore | None:
    """Open and lock the store; None without a data root.

    Raises BadInput where a folder is missing or cannot be used, or another server uses it.
    """
    if settings.data_root is None:
        return None
    if not settings.data_root.is_dir():
        raise BadInput(f"--data-root {settings.data_root}: no such folder")
    folder, lock = lock_state_folder(settings.state_dir, "validations")
    return JobStore(settings.data_root.resolve(), folder, lock)
