"""Jobs: validations asked for over HTTP, one at a time in a thread beside the requests, by the very code of `tencrop evaluate`."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source import Entries, Entry
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.run_timing import TIMING_FILE, read_timing
from tencrop.evaluation.summary import Summary
from tencrop.model.contract import Label
from tencrop.server.background_predictor import BackgroundPredictor
from tencrop.server.batcher import Batcher
from tencrop.server.errors import ApiError, internal_error
from tencrop.server.job_store import JobStore, make_id
from tencrop.server.schemas import FINISHED, NewValidation, Validation

MAX_UNFINISHED = 100  # jobs; one more is answered 429

log = logging.getLogger("uvicorn.error")


class InterruptibleSource(NamedTuple):
    """A data set whose every image is read by another function."""

    root: Path
    labels: tuple[Label, ...]
    entries: Entries
    read: Callable[[Entry], bytes]


class Jobs:
    """All jobs of a store; unfinished ones go on, the oldest first. A Validation never changes: a job's next one replaces it."""

    def __init__(self, store: JobStore, batchers: Mapping[str, Batcher], stopping: Callable[[], bool]) -> None:
        self._store, self._batchers, self._stopping = store, batchers, stopping
        self._jobs = store.read()  # oldest first
        self._running: str | None = None  # what the thread is at, be it cancelled meanwhile
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="validations", daemon=True)
        log.info(
            "validations: data sets in %s; %d unfinished jobs in %s go on",
            store.data_root,
            len(self._unfinished()),
            store.folder,
        )
        self._thread.start()

    def create(self, asked: NewValidation, model: str) -> Validation:
        """Queue one for this served model. Raises ApiError."""
        self._folder(asked.dataset)
        with self._wake:
            if len(self._unfinished()) >= MAX_UNFINISHED:
                raise ApiError(
                    HTTPStatus.TOO_MANY_REQUESTS, "queue_full", f"{MAX_UNFINISHED} validations wait; cancel one or wait"
                )
            job = Validation(
                **asked.model_dump()
                | {"id": make_id(), "model": model, "status": "queued", "created": datetime.now(UTC)}
            )
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

    def all(self) -> list[Validation]:
        """Newest first."""
        return list(self._jobs.values())[::-1]

    def get(self, name: str) -> Validation:
        """Raises ApiError 404."""
        if job := self._jobs.get(name):
            return job
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "no such validation")

    def report(self, name: str) -> Path:
        """The report.html of one that is done. Raises ApiError 404, 409."""
        job = self.get(name)
        if job.status != "done":
            raise ApiError(HTTPStatus.CONFLICT, "not_done", f"the validation is {job.status}; it has no report")
        return self._store.run(name) / "report.html"

    def delete(self, name: str, cancel: bool = False) -> None:
        """Cancel it or, where it is finished, remove it; with `cancel` a finished one stays. Raises ApiError."""
        with self._wake:
            if (status := self.get(name).status) not in FINISHED:
                self._change(name, status="cancelled", finished=datetime.now(UTC))
            elif cancel:
                raise ApiError(HTTPStatus.CONFLICT, "finished", f"the validation is {status} already")
            elif name == self._running:
                raise ApiError(
                    HTTPStatus.CONFLICT, "stopping", "the validation is stopping; try again", {"Retry-After": "1"}
                )
            else:
                try:
                    self._store.remove(name)
                except OSError as error:
                    why = f"the job cannot be removed ({error.strerror})"
                    raise ApiError(HTTPStatus.INSUFFICIENT_STORAGE, "cannot_be_removed", why) from None
                del self._jobs[name]

    def close(self, seconds: float) -> None:
        """Wait that long for the job to stop, which `stopping` has told it; it stays unfinished."""
        with self._wake:
            self._wake.notify()
        self._thread.join(seconds)
        if not self._thread.is_alive():  # else the lock goes with the process
            self._store.close()

    def _unfinished(self) -> list[str]:
        return [name for name, job in self._jobs.items() if job.status not in FINISHED]

    def _folder(self, dataset: str) -> Path:
        """Where a data set lies. Raises ApiError 422 where that is not below the root, links followed, or not there."""
        root = self._store.data_root
        try:
            folder = (root / dataset).resolve()
            inside = folder.is_relative_to(root) and not Path(dataset).is_absolute() and ".." not in Path(dataset).parts
            if inside and folder.is_dir():
                return folder
        except (OSError, RuntimeError, ValueError):  # too long, a circle of links, a zero byte
            inside = True
        why = "no such folder in the data root" if inside else "not in the data root; give a path below it"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_dataset", f"dataset: {why}")

    def _change(self, name: str, keep: bool = True, **changes: Any) -> None:
        """The job's next state, kept on disk; one that is cancelled stays so."""
        with self._wake:
            if self._jobs[name].status == "cancelled":
                return
            self._jobs[name] = self._jobs[name].model_copy(update=changes)
            if not keep:
                return
            try:
                self._store.save(self._jobs[name])
            except (
                OSError
            ) as error:  # the disk is full: what it says there is older, and the job goes on from that after a restart
                log.warning("validation %s: %s cannot be kept (%s)", name, " and ".join(changes), error.strerror)

    def _work(self) -> None:
        while name := self._next():
            self._do(name)
            with self._wake:
                self._running = None

    def _next(self) -> str | None:
        """The oldest unfinished job; None once stopping."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopping() or self._unfinished())
            self._running = None if self._stopping() else self._unfinished()[0]
            return self._running

    def _do(self, name: str) -> None:
        try:
            summary = self._evaluate(name)
            rate = read_timing(self._store.run(name) / TIMING_FILE).images_per_s
            end: dict[str, Any] = {
                "status": "done",
                "summary": summary.to_json(),
                "images": summary.n,
                "images_per_s": rate,
            }
        except Stopped:
            self._change(name)  # keeps how far it is
            return
        except (BadInput, WorkFailed, ApiError, OSError) as error:
            end = {"status": "failed", "error": self.public_message(error)}
        except Exception:  # the engine's or a library's own; the thread lives on
            log.exception("validation %s", name)
            end = {"status": "failed", "error": str(internal_error())}
        self._change(name, **end, finished=datetime.now(UTC))

    def _evaluate(self, name: str) -> Summary:
        """Do or finish a job; the summary. Raises Stopped where it is cancelled or the server stops, BadInput, WorkFailed, ApiError."""
        job, out = self._jobs[name], self._store.run(name)
        first: tuple[float, int] | None = None  # when and with how many images it went on

        def stopped() -> bool:
            return self._stopping() or self._jobs[name].status == "cancelled"

        def check(_: int = 0) -> None:
            if stopped():
                raise Stopped("the job was stopped")

        def progress(images: int) -> None:
            nonlocal first
            now = time.monotonic()
            first = first or (now, images)
            rate = (images - first[1]) / (now - first[0]) if images > first[1] else None
            self._change(name, keep=False, images=images, images_per_s=rate)
            check()

        if job.model not in self._batchers:
            raise BadInput(f"no model {job.model!r}; served are {', '.join(self._batchers)}")
        batcher = self._batchers[job.model]
        self._change(name, status="running", started=job.started or datetime.now(UTC))
        source = open_source(self._folder(job.dataset), progress=check, training=False)

        def read(entry: Entry) -> bytes:
            check()  # a chunk of large images takes many seconds
            return source.read(entry)

        model = BackgroundPredictor(batcher, stopped)
        work = plan_evaluation(
            InterruptibleSource(source.root, source.labels, source.entries, read), model, job.holdout, job.limit
        )
        self._change(name, total=len(work.entries))
        check()
        return evaluate(work, model, out, True, progress)

    def public_message(self, error: Exception) -> str:
        """What happened in one line, as a client may read it: no path outside the data root, no flag of the command line."""
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        for folder in (self._store.data_root, self._store.folder):
            text = text.replace(f"{folder}/", "").replace(str(folder), ".")
        return " ".join(text.split()).partition("; ")[0]
