"""Engines: the part of the server that computes: the models' engines with their queues, and the validations."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.extras import require
from tencrop.runtime.engine import engine_signature
from tencrop.runtime.ensemble import Predictor
from tencrop.server.admission import Admission
from tencrop.server.batcher import Batcher
from tencrop.server.job_store import JobStore
from tencrop.server.loaded_model import LoadedModel, describe_model
from tencrop.server.metrics import Metrics
from tencrop.server.open_shadow import OpenShadow
from tencrop.server.server_counts import ServerCounts
from tencrop.server.settings import Settings
from tencrop.server.shadow import Shadow

if TYPE_CHECKING:
    from tencrop.server.jobs import Jobs

LAST_SECONDS = 1.0  # in which a job may stop when the time to drain is over already

log = logging.getLogger("uvicorn.error")


class Engines:
    """Several predictors of one name are one model on several devices. Starts a thread for each."""

    def __init__(
        self,
        predictors: Sequence[Predictor],
        models: Sequence[LoadedModel],
        settings: Settings,
        store: JobStore | None,
        counts: ServerCounts,
        metrics: Metrics,
        shadow: OpenShadow | None = None,
    ) -> None:
        self.models, self._settings, self._metrics = models, settings, metrics
        self.queues: dict[str, Batcher] = {}
        self.admissions = {
            model.name: counts.open_admission(number, model.queue_images) for number, model in enumerate(models)
        }
        self.shadow: Shadow | None = None
        if shadow:
            self.shadow = Shadow(shadow, models[0].name, models[0].contract, self._count_admitted, metrics)
        for model in models:
            self._open_queue([each for each in predictors if each.name == model.name], model)
        self._is_draining = False
        self._drain_due = 0.0  # time.monotonic() when draining has to be over
        self.lacking = ""  # what validations need and is not installed, with the line that installs it
        self.jobs = self._open_jobs(store) if store else None

    def count_waiting(self) -> Mapping[str, int]:
        """The number of images that wait for an engine, by model."""
        return {name: len(queue) for name, queue in self.queues.items()}

    def put(self, engines: Sequence[Predictor], model: LoadedModel) -> Batcher | None:
        """Start the engines of a model that comes while the server runs -> the queue whose place it takes, if any."""
        admission = self.admissions.setdefault(model.name, Admission(model.queue_images))
        admission.capacity = model.queue_images
        old = self.queues.get(model.name)
        self._open_queue(engines, model)
        return old

    def remove(self, name: str) -> Batcher:
        """Take a model out -> its queue."""
        del self.admissions[name]
        return self.queues.pop(name)

    def drain(self) -> None:
        """Stop the job that runs, and the shadow. Images are answered until `close`."""
        if not self._is_draining:
            self._is_draining, self._drain_due = True, time.monotonic() + self._settings.drain_seconds
            if self.shadow:
                self.shadow.drain()

    def close(self) -> None:
        """Answer the images that wait and end all threads. An unfinished job goes on when the server starts again."""
        self.drain()
        if self.jobs:
            self.jobs.close(max(LAST_SECONDS, self._drain_due - time.monotonic()))
        for queue in self.queues.values():
            queue.stop()
        if self.shadow:
            self.shadow.close()

    def _open_queue(self, engines: Sequence[Predictor], model: LoadedModel) -> None:
        offer = self.shadow.offer if self.shadow and self.shadow.name == model.name else None
        count_admitted = self.admissions[model.name].count_admitted
        self.queues[model.name] = Batcher(engines, model.forward_images, self._metrics, count_admitted, offer)

    def _count_admitted(self) -> int:
        """The number of images that are admitted to any model. The thread of the shadow calls this."""
        return sum(each.count_admitted() for each in list(self.admissions.values()))

    def _open_jobs(self, store: JobStore) -> "Jobs | None":
        """Start the jobs, or log what they lack: a server without the extra `evaluate` answers images all the same."""
        try:
            require("evaluate")
        except WorkFailed as missing:
            self.lacking = str(missing)
            log.warning("validations are off: %s", missing)
            store.close()
            return None
        from tencrop.server.jobs import Jobs  # imports pyarrow: 30 MiB that a server without a data root does not need

        return Jobs(store, self.queues, lambda: self._is_draining, self._settings.keep_validations)


def describe_models(predictors: Sequence[Predictor], settings: Settings) -> list[LoadedModel]:
    """The served models in their order.

    Raises BadInput for a bad summary.json, and where devices of one model would give different answers.
    """
    by_name: dict[str, list[Predictor]] = {}
    for predictor in predictors:
        by_name.setdefault(predictor.name, []).append(predictor)
    for name, (first, *others) in by_name.items():
        signature = engine_signature(first.engine)
        for other in others:
            if (differs := engine_signature(other.engine)) != signature:
                what = f"--device: {name} would be {signature} and {differs}, with two answers to one image"
                raise BadInput(what, "name devices of one kind")
    return [describe_model(engines, settings) for engines in by_name.values()]
