"""Runs chunks on Ray Data with one actor per device: the actors write the part files, the calling process merges them.

Every machine sees the data set, the models and the run's folder under the same paths. An actor must compute as the
calling machine does, down to the number of cores, so that no float depends on where a chunk was evaluated. RAY_ADDRESS
names a cluster; without it Ray is started on this machine.
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
from tencrop.evaluation.chunks import evaluate_chunks, run_fingerprint
from tencrop.evaluation.evaluate import ChunkRunner
from tencrop.evaluation.part_file import is_complete
from tencrop.evaluation.plan import Plan
from tencrop.evaluation.ray_cluster import connect_ray
from tencrop.images.pillow_warnings import filter_pillow_warnings
from tencrop.runtime.engine_choice import EngineOptions, device_kind
from tencrop.runtime.ensemble import Predictor, open_predictor

BATCH = 4  # chunks per call of an actor, which decodes ahead within the call; all are repeated when the actor dies
ATTEMPTS = 4  # per batch; Ray itself would repeat for ever a batch that ends its process
ACTORS = "EVALUATE_ACTORS"  # environment: number of actors, else one per device; TENCROP_* are settings of the server


@dataclass(frozen=True)
class ActorSettings:
    """Everything besides the plan that an actor needs."""

    out: Path
    models: tuple[Path, ...]
    options: EngineOptions
    fingerprint: Mapping[str, Any]  # of the calling process
    working_folder: Path  # of the calling process; relative paths of the data set start there


def make_ray_runner(plan: Plan, model: Predictor, models: Sequence[Path], out: Path) -> ChunkRunner:
    """Make the function that evaluates chunks of the plan on Ray; `models` are the files that `model` was opened from.

    Iterating over its result raises WorkFailed where a machine would compute differently, or where Ray gives up. Part
    files that are written stay.
    """
    engine = model.engine
    options = EngineOptions(
        device_kind(engine.device), engine.name, engine.precision, engine.streams, engine.forward_images is not None
    )
    files = tuple(path.absolute() for path in models)
    settings = ActorSettings(out.absolute(), files, options, run_fingerprint(plan, model), Path.cwd())

    def run_on_ray(chunks: Sequence[int]) -> Iterator[int]:
        if not chunks:
            return
        with connect_ray():
            try:
                yield from _map_chunks(plan, settings, chunks)
            except RayError as error:
                why = one_line(error)
                raise WorkFailed(f"Ray gave up ({why})", "finished images are kept: go on with --resume") from None
        missing = sum(not is_complete(out, plan, chunk) for chunk in chunks)
        if missing:
            advice = "--out is a folder that every machine of the cluster sees"
            raise WorkFailed(f"{out}: {missing} part files are missing", advice)

    return run_on_ray


def _map_chunks(plan: Plan, settings: ActorSettings, chunks: Sequence[int]) -> Iterator[int]:
    """Yield the number of images of each finished chunk, in the order in which batches finish."""
    actors, resources = _choose_actors(settings.options.device)
    data = replace(cast(Any, plan.data), entries=plan.data.entries.select(np.zeros(len(plan.data.entries), bool)))
    shared_plan = ray.put(replace(plan, data=data))  # one copy per machine, in Ray's shared memory
    attempts: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts)
    batch = min(BATCH, -(-len(chunks) // actors))
    batches = -(-len(chunks) // batch)
    todo: Any = ray.data.from_items([{"chunk": chunk} for chunk in chunks], override_num_blocks=batches)
    finished = todo.map_batches(
        Actor,
        fn_constructor_args=(settings, shared_plan, attempts.remote()),
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=min(actors, batches)),
        **resources,
    )
    for row in finished.iter_rows():
        if row["failure"]:
            raise WorkFailed(row["failure"])
        yield int(row["images"])


class Attempts:
    """Counts how often each batch was started. The count outlives the actor that dies of the batch."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def count(self, chunk: int) -> int:
        """Count one more start of the batch whose first chunk this is; return the number of starts."""
        self.counts[chunk] += 1
        return self.counts[chunk]


class Actor:
    """Evaluates chunks on one device with models that it opens once.

    A failure is returned as data, for Ray would print an exception with a page of its own frames. Ray Data restarts an
    actor whose process or machine dies, and hands it the unfinished batch again.
    """

    def __init__(self, settings: ActorSettings, plan: Any, attempts: Any) -> None:
        self.settings, self.attempts, self.failure = settings, attempts, ""
        filter_pillow_warnings()  # the actor is a process of its own
        with suppress(OSError):  # the folder may be missing here where no path is relative
            os.chdir(settings.working_folder)
        try:
            self.plan: Plan = ray.get(plan)
            self.model = open_predictor(settings.models, settings.options)
            self._check_fingerprint()
        except (BadInput, WorkFailed, OSError) as error:
            self.failure = _with_host(error)

    def _check_fingerprint(self) -> None:
        """Compare this machine with the calling one. Raises WorkFailed where they would compute differently."""
        for key, here in run_fingerprint(self.plan, self.model).items():
            there = self.settings.fingerprint[key]
            if here != there:
                raise WorkFailed(f"the {key} is {here} here and {there} where the command runs: results could differ")

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Evaluate these chunks; chunks that an earlier actor finished are only counted."""
        if self.failure:
            yield _row(0, self.failure)
            return
        chunks = batch["chunk"].tolist()
        todo = [chunk for chunk in chunks if not is_complete(self.settings.out, self.plan, chunk)]
        for chunk in set(chunks) - set(todo):
            yield _row(len(self.plan.chunk(chunk)[0]))
        if todo and ray.get(self.attempts.count.remote(chunks[0])) > ATTEMPTS:
            first = self.plan.chunk(todo[0])[0][0].id
            died = WorkFailed(
                f"a process died {ATTEMPTS} times over the images from {first} on",
                "finished images are kept for --resume",
            )
            yield _row(0, str(died))
            return
        try:
            yield from map(_row, evaluate_chunks(self.plan, todo, self.settings.out, self.model))
        except WorkFailed as error:
            yield _row(0, _with_host(error))


def _row(images: int, failure: str = "") -> dict[str, np.ndarray]:
    return {"images": np.array([images]), "failure": np.array([failure])}


def _with_host(error: Exception) -> str:
    return f"{error} (on {socket.gethostname()})"


def _choose_actors(device: str) -> tuple[int, dict[str, float]]:
    """The number of actors, and what each takes of Ray's resources: a GPU, or a machine's cores."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    wanted = os.environ.get(ACTORS, "")
    if wanted and not (wanted.isdecimal() and int(wanted)):
        raise WorkFailed(f"{ACTORS}={wanted}: expected a whole number from 1 up")
    cpus, gpus = int(free.get("CPU", 0)), int(free.get("GPU", 0))
    if device != "cpu":
        if not gpus:
            raise WorkFailed("Ray has no free GPU", "--device cpu computes on its cores")
        actors = int(wanted or gpus)
        return actors, {"num_gpus": _share(gpus, actors, 1), "num_cpus": _share(cpus, actors, 1)}
    machine = os.cpu_count() or 1  # cores of one machine, as Ray counts them
    actors = int(wanted or max(1, cpus // machine))
    return actors, {"num_cpus": _share(cpus, actors, machine)}


def _share(free: int, actors: int, most: int) -> float:
    """The share of a resource that every actor can have, at most `most`. Ray counts in ten thousandths."""
    return min(most, free * 10_000 // actors / 10_000)
