"""Jobs: validations that clients asked for over HTTP. A thread beside the requests runs one at a time."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, Stopped, TencropError
from tencrop.evaluation.run_timing import TIMING_FILE, read_timing
from tencrop.evaluation.summary import Summary
from tencrop.server.batcher import Batcher
from tencrop.server.data_root import DataRoot
from tencrop.server.errors import ApiError, internal_error
from tencrop.server.job_evaluation import evaluate_job
from tencrop.server.job_message import public_message
from tencrop.server.job_store import JobStore, make_id
from tencrop.server.schemas import FINISHED, NewValidation, Validation

MAX_UNFINISHED = 100  # jobs; one more is answered 429

log = logging.getLogger("uvicorn.error")


class Jobs:
    """All jobs of a store. Unfinished jobs run in the order of their creation.

    A Validation never changes; a job's next state is a new Validation. `stopping` returns true once the server drains.
    At most `keep` finished jobs are kept.
    """

    def __init__(
        self, store: JobStore, batchers: Mapping[str, Batcher], stopping: Callable[[], bool], keep: int
    ) -> None:
        self._store, self._batchers, self._stopping, self._keep = store, batchers, stopping, keep
        self._data_root = DataRoot(store.data_root, store.folder)
        self._jobs = store.read()  # oldest first
        self._running: str | None = None  # the job that the thread works on, even if it was cancelled meanwhile
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="validations", daemon=True)
        log.info(
            "validations: data sets in %s; %d unfinished jobs in %s go on",
            store.data_root,
            len(self._unfinished()),
            store.folder,
        )
        self._remove_oldest()
        self._thread.start()

    def create(self, asked: NewValidation, model: str) -> Validation:
        """Queue a job for the served model `model`. Raises ApiError 422, 429, 507."""
        self._data_root.find(asked.dataset)
        with self._wake:
            if len(self._unfinished()) >= MAX_UNFINISHED:
                raise ApiError(
                    HTTPStatus.TOO_MANY_REQUESTS, "queue_full", f"{MAX_UNFINISHED} validations wait; cancel one or wait"
                )
            fields = {"id": make_id(), "model": model, "status": "queued", "created": datetime.now(UTC)}
            job = Validation(**asked.model_dump() | fields)
            try:
                self._store.save(job)
            except OSError as error:
                with suppress(OSError):
                    self._store.remove(job.id)
                why = f"the job cannot be kept ({error.strerror})"
                raise ApiError(HTTPStatus.INSUFFICIENT_STORAGE, "cannot_be_kept", why) from None
            self._jobs[job.id] = job
            self._wake.notify()
        return job

    def list_folders(self, below: str) -> list[str]:
        """The names of the folders in a folder of the data root. Raises ApiError 422."""
        return self._data_root.list_folders(below)

    def list_newest(self, limit: int, before: str | None = None) -> list[Validation]:
        """At most `limit` jobs, the newest first; `before` is the id of a job, which may be gone, to continue after."""
        newest_first = reversed(list(self._jobs.values()))
        return list(islice((job for job in newest_first if before is None or job.id < before), limit))

    def get(self, job_id: str) -> Validation:
        """A job by its id. Raises ApiError 404."""
        if job := self._jobs.get(job_id):
            return job
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "no such validation")

    def report(self, job_id: str) -> Path:
        """The path of a finished job's report.html. Raises ApiError 404, 409, 410."""
        job = self.get(job_id)
        if job.status != "done":
            raise ApiError(HTTPStatus.CONFLICT, "not_done", f"the validation is {job.status}; it has no report")
        path = self._store.run_folder(job_id) / "report.html"
        if not os.access(path, os.R_OK) or not path.is_file():
            raise ApiError(HTTPStatus.GONE, "gone", "the report was removed from the server's disk")
        return path

    def delete(self, job_id: str, cancel: bool = False) -> None:
        """Cancel an unfinished job; remove a finished one unless `cancel`. Raises ApiError 404, 409, 507."""
        with self._wake:
            if (status := self.get(job_id).status) not in FINISHED:
                self._change(job_id, status="cancelled", finished=datetime.now(UTC))
                self._remove_oldest()
            elif cancel:
                raise ApiError(HTTPStatus.CONFLICT, "finished", f"the validation is {status} already")
            elif job_id == self._running:
                raise ApiError(
                    HTTPStatus.CONFLICT, "stopping", "the validation is stopping; try again", {"Retry-After": "1"}
                )
            else:
                self._remove(job_id)

    def close(self, seconds: float) -> None:
        """Wait up to `seconds` for the running job to stop. The job stays unfinished; the next server continues it."""
        with self._wake:
            self._wake.notify()
        self._thread.join(seconds)
        if not self._thread.is_alive():  # else the lock ends with the process
            self._store.close()

    def _remove(self, job_id: str) -> None:
        try:
            self._store.remove(job_id)
        except OSError as error:
            why = f"the job cannot be removed ({error.strerror})"
            raise ApiError(HTTPStatus.INSUFFICIENT_STORAGE, "cannot_be_removed", why) from None
        del self._jobs[job_id]

    def _remove_oldest(self) -> None:
        """Remove the finished jobs beyond `keep`, those that finished first. The job that is stopping stays."""
        with self._wake:
            ended = [job for job in self._jobs.values() if job.status in FINISHED and job.id != self._running]
            ended.sort(key=lambda job: job.finished or job.created)
            for job in ended[: max(0, len(ended) - self._keep)]:
                try:
                    self._remove(job.id)
                except ApiError as error:
                    log.warning("validation %s: %s", job.id, error)

    def _unfinished(self) -> list[str]:
        return [job_id for job_id, job in self._jobs.items() if job.status not in FINISHED]

    def _change(self, job_id: str, keep: bool = True, **changes: Any) -> None:
        """Change fields of a job, on disk too if `keep`. A cancelled job stays as it is."""
        with self._wake:
            if self._jobs[job_id].status == "cancelled":
                return
            self._jobs[job_id] = self._jobs[job_id].model_copy(update=changes)
            if not keep:
                return
            try:
                self._store.save(self._jobs[job_id])
            except OSError as error:  # the disk keeps an older state, from which the job continues after a restart
                log.warning("validation %s: %s cannot be kept (%s)", job_id, " and ".join(changes), error.strerror)

    def _work(self) -> None:
        while job_id := self._next():
            self._run(job_id)
            with self._wake:
                self._running = None
                self._remove_oldest()

    def _next(self) -> str | None:
        """Wait for the oldest unfinished job; None once the server is stopping."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopping() or self._unfinished())
            self._running = None if self._stopping() else self._unfinished()[0]
            return self._running

    def _run(self, job_id: str) -> None:
        """Evaluate a job and record how it ended; a job that was stopped stays unfinished."""
        try:
            summary = self._evaluate(job_id)
            rate = read_timing(self._store.run_folder(job_id) / TIMING_FILE).images_per_s
            end: dict[str, Any] = {"status": "done", "summary": summary.to_json()}
            end |= {"images": summary.n, "images_per_s": rate}
        except Stopped:
            self._change(job_id)  # keeps the number of images on disk
            return
        except (TencropError, ApiError, OSError) as error:
            end = {"status": "failed", "error": public_message(error, self._store.data_root, self._store.folder)}
        except Exception:  # of an engine or a library; the thread lives on
            log.exception("validation %s", job_id)
            end = {"status": "failed", "error": str(internal_error())}
        self._change(job_id, **end, finished=datetime.now(UTC))

    def _evaluate(self, job_id: str) -> Summary:
        """Run a job's evaluation to its end.

        Raises Stopped where the job is cancelled or the server stops, BadInput, WorkFailed, ApiError.
        """
        job = self._jobs[job_id]
        batcher = self._batchers.get(job.model)  # once, for a model may be unloaded meanwhile
        if batcher is None:
            raise BadInput(f"no model {job.model!r}", f"served are {', '.join(self._batchers)}")
        self._change(job_id, status="running", started=job.started or datetime.now(UTC))

        def is_stopped() -> bool:
            return self._stopping() or self._jobs[job_id].status == "cancelled"

        folder, out = self._data_root.find(job.dataset), self._store.run_folder(job_id)
        with batcher.hold():
            return evaluate_job(job, folder, out, batcher, is_stopped, partial(self._change, job_id))
