"""What the running server holds: its models, each with a batcher, and the decode pool. Routes get it as `Serving`."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request

from model.classifier import Classifier
from server.batcher import Batcher
from server.errors import Refusal
from server.settings import Settings


class State:
    """One a process."""

    def __init__(self, classifiers: Sequence[Classifier], settings: Settings) -> None:
        self.settings = settings
        self.batchers = {c.name: Batcher(c, settings.forward_views, settings.queue_views) for c in classifiers}
        self.decoders = ThreadPoolExecutor(os.cpu_count(), "decode")
        self.draining = False  # set at SIGTERM

    def batcher(self, name: str | None) -> Batcher:
        """The model of that name, the first one where none is named. Raises Refusal."""
        if self.draining:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down")
        wanted = next(iter(self.batchers)) if name is None else name
        if wanted not in self.batchers:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown_model", f"no model {wanted!r}; served are {', '.join(self.batchers)}")
        return self.batchers[wanted]

    def close(self) -> None:
        """Finish what was admitted."""
        for batcher in self.batchers.values():
            batcher.stop()
        self.decoders.shutdown(cancel_futures=True)


def _serving(request: Request) -> State:
    return cast(State, request.app.state.serving)


Serving = Annotated[State, Depends(_serving)]
