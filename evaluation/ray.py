"""On Ray: `tencrop evaluate --ray`. Whole chunks on Ray Data, an actor a device; parts are written by the actors, merged by the caller.

Every machine sees the data set, the models and the run's folder under the same paths. What an actor computes with must be what the
machine of the command has, core for core, so that no float tells where a chunk was done. RAY_ADDRESS names a cluster; without it Ray
is started here.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import ray
import ray.data
from ray.exceptions import RayError

from tencrop.common.errors import BadInput, WorkFailed, one_line
from tencrop.evaluation.chunks import Plan, evaluate_chunks, is_complete, run_fingerprint
from tencrop.evaluation.evaluate import ChunkRunner
from tencrop.evaluation.ray_cluster import connect_ray
from tencrop.runtime.engine_choice import EngineOptions, device_kind
from tencrop.runtime.ensemble import Predictor, open_predictor

BATCH = 4  # chunks an actor does at a stretch, its decoding ahead of its engine; so much is done again when it dies
TRIES = 4  # of one batch: Ray alone would try for ever what ends its process
ACTORS = "EVALUATE_ACTORS"  # how many, where one a device is not wanted; TENCROP_... would be a setting of the server


@dataclass(frozen=True)
class Job:
    """What an actor is told, besides the plan."""

    out: Path
    models: tuple[Path, ...]
    options: EngineOptions
    alike: Mapping[str, Any]
    folder: Path  # that relative paths start from


def make_ray_runner(work: Plan, model: Predictor, models: Sequence[Path], out: Path) -> ChunkRunner:
    """Does the chunks of a plan on Ray; `models` are the files that `model` is of.

    Iterating raises WorkFailed where a machine cannot do what this one does, or where Ray gives up; parts that are written stay.
    """
    engine = model.engine
    options = EngineOptions(device_kind(engine.device), engine.name, engine.precision)
    job = Job(out.absolute(), tuple(path.absolute() for path in models), options, run_fingerprint(model), Path.cwd())

    def run_on_ray(chunks: Sequence[int]) -> Iterator[int]:
        if not chunks:
            return
        with connect_ray():
            try:
                yield from _spread(work, job, chunks)
            except RayError as error:
                why = one_line(error)
                raise WorkFailed(f"Ray gave up ({why}); what is done is kept: go on with --resume") from None
        gone = [chunk for chunk in chunks if not is_complete(out, work, chunk)]
        if gone:
            raise WorkFailed(
                f"{out}: {len(gone)} parts are not there; --out is a folder that every machine of the cluster sees"
            )

    return run_on_ray


def _spread(work: Plan, job: Job, chunks: Sequence[int]) -> Iterator[int]:
    """After each chunk, in the order in which batches are finished, its number of images."""
    actors, resources = _actors(job.options.device)
    data = replace(cast(Any, work.data), entries=work.data.entries.select(np.zeros(len(work.data.entries), bool)))
    plan = ray.put(replace(work, data=data))  # once a machine, in its shared memory
    tries: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tries)
    batch = min(BATCH, -(-len(chunks) // actors))
    batches = -(-len(chunks) // batch)
    asked: Any = ray.data.from_items([{"chunk": chunk} for chunk in chunks], override_num_blocks=batches)
    done = asked.map_batches(
        Actor,
        fn_constructor_args=(job, plan, tries.remote()),
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=min(actors, batches)),
        **resources,
    )
    for row in done.iter_rows():
        if row["failure"]:
            raise WorkFailed(row["failure"])
        yield int(row["images"])


class Tries:
    """How often each batch was begun, whoever died of it."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def begun(self, chunk: int) -> int:
        """Once more, the batch that starts with this chunk."""
        self.counts[chunk] += 1
        return self.counts[chunk]


class Actor:
    """One device's: it opens the models once. What goes wrong is told as data, since Ray would make a page of it.

    Ray Data starts it again when its process dies, or its machine, and gives it again what was not finished.
    """

    def __init__(self, job: Job, plan: Any, tries: Any) -> None:
        self.job, self.tries, self.failure = job, tries, ""
        with suppress(OSError):  # where nothing is relative to it, it need not be there
            os.chdir(job.folder)
        try:
            self.work: Plan = ray.get(plan)
            self.model = open_predictor(job.models, job.options)
            self._compare()
        except (BadInput, WorkFailed, OSError) as error:
            self.failure = _told(error)

    def _compare(self) -> None:
        """Raises WorkFailed where this machine would compute otherwise than the one that the command runs on."""
        for key, here in run_fingerprint(self.model).items():
            if here != self.job.alike[key]:
                raise WorkFailed(
                    f"the {key} is {here} here and {self.job.alike[key]} where the command runs: results could differ"
                )

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Do these chunks; those that an actor before this one has done are only counted."""
        if self.failure:
            yield _row(0, self.failure)
            return
        chunks = batch["chunk"].tolist()
        todo = [chunk for chunk in chunks if not is_complete(self.job.out, self.work, chunk)]
        for chunk in set(chunks) - set(todo):
            yield _row(len(self.work.chunk(chunk)[0]))
        if todo and ray.get(self.tries.begun.remote(chunks[0])) > TRIES:
            first = self.work.chunk(todo[0])[0][0].id
            yield _row(
                0, f"a process died {TRIES} times over the images from {first} on; what is done is kept for --resume"
            )
            return
        try:
            yield from map(_row, evaluate_chunks(self.work, todo, self.job.out, self.model))
        except WorkFailed as error:
            yield _row(0, _told(error))


def _row(images: int, failure: str = "") -> dict[str, np.ndarray]:
    return {"images": np.array([images]), "failure": np.array([failure])}


def _told(error: Exception) -> str:
    return f"{error} (on {socket.gethostname()})"


def _actors(device: str) -> tuple[int, dict[str, float]]:
    """How many, and what each takes of Ray's resources: a GPU, or a machine's cores."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    asked = os.environ.get(ACTORS, "")
    if asked and not (asked.isdecimal() and int(asked)):
        raise WorkFailed(f"{ACTORS}={asked}: expected a whole number from 1 up")
    cpus, gpus = int(free.get("CPU", 0)), int(free.get("GPU", 0))
    if device != "cpu":
        if not gpus:
            raise WorkFailed("Ray has no free GPU; --device cpu computes on its cores")
        actors = int(asked or gpus)
        return actors, {"num_gpus": _share(gpus, actors, 1), "num_cpus": _share(cpus, actors, 1)}
    whole = os.cpu_count() or 1  # machine, as Ray counts it
    actors = int(asked or max(1, cpus // whole))
    return actors, {"num_cpus": _share(cpus, actors, whole)}


def _share(free: int, actors: int, most: int) -> float:
    """So much that all of them find room; Ray counts in ten thousandths."""
    return min(most, free * 10_000 // actors / 10_000)
