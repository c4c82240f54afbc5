"""Repository: loads and unloads the models of a folder while the server answers requests.

A new model is opened, proven and warmed up beside the one in whose place it then serves. A request keeps the model that
it began with; so does a validation.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from tencrop.common.errors import BadInput, TencropError
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Predictor
from tencrop.server.batcher import Batcher
from tencrop.server.engines import Engines, describe_models
from tencrop.server.errors import ApiError, shutting_down_error
from tencrop.server.job_message import public_message
from tencrop.server.loaded_model import LoadedModel
from tencrop.server.model_folder import ModelFile, ModelFolder
from tencrop.server.open_models import check_names, open_model
from tencrop.server.pipeline import Pipeline
from tencrop.server.settings import Settings
from tencrop.server.state import ServerState

log = logging.getLogger("uvicorn.error")


class OpenRepository(NamedTuple):
    """The folder, its files when the server read them at the start, and what opens a model by its name and path."""

    folder: ModelFolder
    files: Mapping[str, ModelFile]
    open_model: Callable[[str, Path], Sequence[Predictor]]


def find_repository(settings: Settings, options: EngineOptions) -> OpenRepository | None:
    """The repository with its files of now; None where there is none.

    Raises BadInput where it cannot be read, and for `poll` without one.
    """
    if settings.model_repository:
        folder = ModelFolder(settings.model_repository)
        return OpenRepository(folder, folder.list_files(), partial(open_model, options=options, settings=settings))
    if settings.poll:
        raise BadInput(f"--poll {settings.poll:g}: there is no repository", "add --model-repository DIR")
    return None


class Repository:
    """Changes one model at a time, so that at most one is in memory beside those that are served.

    With `settings.poll` it follows the files, too.
    """

    def __init__(self, opened: OpenRepository, engines: Engines, state: ServerState) -> None:
        self._folder, self._open_model = opened.folder, opened.open_model
        self._engines, self._state = engines, state
        self._tried = dict(opened.files)  # the file of each model as it was loaded, or failed to
        self._failures: dict[str, str] = {}  # why the last change of a model was refused
        self._turn = asyncio.Lock()
        seconds = state.settings.poll
        self._polling = asyncio.create_task(self._poll(seconds)) if seconds else None

    async def load(self, name: str) -> None:
        """Read a model's file and serve it from now on, in place of the model of that name, if there is one.

        Returns once the model before has answered its last request. Raises ApiError 404, 409, 503, and 400 where the
        file is no model that this server can run; the model before then goes on.
        """
        async with self._change(name):
            files = await self._list_files()
            if name not in files:
                what = f"no file of a model {name!r} in the repository; it has {', '.join(files) or 'none'}"
                raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", what)
            await self._load(name, files[name])

    async def unload(self, name: str) -> None:
        """Serve a model no longer. Returns once it has answered its last request. Raises ApiError 404, 409, 503."""
        async with self._change(name):
            await self._unload(name)

    async def list_unserved(self) -> dict[str, str]:
        """The models of the folder that are not served, each with what `find_failure` says. Raises ApiError 400."""
        files = await self._list_files()
        return {name: self.find_failure(name) for name in files if name not in self._state.pipelines}

    def find_failure(self, name: str) -> str:
        """Why the last change of a model was refused; empty where it was not."""
        return self._failures.get(name, "")

    def close(self) -> None:
        """Follow the files no longer."""
        if self._polling:
            self._polling.cancel()

    @asynccontextmanager
    async def _change(self, name: str) -> AsyncIterator[None]:
        """A block that may change a model. Raises ApiError 409 for a model that stays, 503 while draining.

        Logs an ApiError, but once: a look at the files meets it again and again.
        """
        async with self._turn:
            try:
                self._check_may_change(name)
                yield
            except ApiError as error:
                if self._failures.get(name) != str(error):
                    log.warning("%s: %s", name, error)
                if name in self._tried or name in self._state.pipelines:
                    self._failures[name] = str(error)
                raise
            self._failures.pop(name, None)

    def _check_may_change(self, name: str) -> None:
        if self._state.draining:
            raise shutting_down_error()
        pipeline, shadow = self._state.pipelines.get(name), self._engines.shadow
        if pipeline and not self._holds(pipeline.model):
            why = "the server was started with it, and it is not in the repository"
        elif pipeline and shadow and shadow.name == name:
            why = "it has a shadow, which compares one pair of models until the server ends"
        else:
            return
        raise ApiError(HTTPStatus.CONFLICT, "fixed_model", f"{name!r} stays: {why}")

    def _holds(self, model: LoadedModel) -> bool:
        return not model.is_ensemble and model.nets[0].folder.resolve().is_relative_to(self._folder.root)

    async def _list_files(self) -> dict[str, ModelFile]:
        try:
            return await run_in_threadpool(self._folder.list_files)
        except BadInput as error:
            raise self._cannot_load_error(error) from None

    async def _load(self, name: str, file: ModelFile) -> None:
        self._tried[name] = file
        try:
            check_names([other for other in self._state.pipelines if other != name] + [name])
            engines, model = await run_in_threadpool(self._open, name, file)
        except TencropError as error:
            raise self._cannot_load_error(error) from None
        if self._state.draining:
            raise shutting_down_error()
        queue = self._engines.put(engines, model)
        pipeline = self._state.put_model(model, self._engines.queues[name], self._engines.admissions[name])
        log.info("%s: loaded; %s on %s, %s, answers its probe", name, *model.engine_info)
        if pipeline is not None and queue is not None:
            await _retire(pipeline, queue)

    def _open(self, name: str, file: ModelFile) -> tuple[Sequence[Predictor], LoadedModel]:
        """Open a model on every device and run every batch size. Raises BadInput, WorkFailed."""
        engines = self._open_model(name, file.check())
        (model,) = describe_models(engines, self._state.settings)
        return engines, model

    def _cannot_load_error(self, error: TencropError) -> ApiError:
        message = public_message(error, self._folder.root)
        return ApiError(HTTPStatus.BAD_REQUEST, "cannot_load", message)

    async def _unload(self, name: str) -> None:
        if name not in self._state.pipelines:
            served = ", ".join(self._state.pipelines)
            raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", f"no model {name!r}; served are {served}")
        if len(self._state.pipelines) == 1:
            raise ApiError(HTTPStatus.CONFLICT, "last_model", f"{name!r} is the only model; load another one first")
        pipeline = self._state.remove_model(name)
        await _retire(pipeline, self._engines.remove(name))
        log.info("%s: unloaded", name)

    async def _poll(self, seconds: float) -> None:
        """Follow the files: load those that appear or change, unload the models of those that vanish.

        A change counts once two looks have seen the same, so that no file is read while it is being copied.
        """
        seen: Mapping[str, ModelFile] = dict(self._tried)
        while True:
            await asyncio.sleep(seconds)
            try:
                found = await run_in_threadpool(self._folder.list_files)
                for name in {**self._tried, **found}:
                    if found.get(name) == seen.get(name) and found.get(name) != self._tried.get(name):
                        await self._follow(name, found.get(name))
                seen = found
            except BadInput as error:
                log.warning("%s", error)
            except Exception:  # the next look may succeed
                log.exception("the repository cannot be followed")

    async def _follow(self, name: str, file: ModelFile | None) -> None:
        """Load a file that has changed, or unload the model of one that has vanished."""
        with suppress(ApiError):  # which is logged
            async with self._change(name):
                if file:
                    await self._load(name, file)
                    return
                if name in self._state.pipelines:
                    await self._unload(name)
                del self._tried[name]


async def _retire(pipeline: Pipeline, queue: Batcher) -> None:
    """End a model that no new request finds, once its requests have ended."""
    await pipeline.wait_until_unused()
    queue.retire()
