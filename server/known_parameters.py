"""KnownParametersRoute: a route that refuses query parameters that it does not know, and names the nearest."""

from collections.abc import Callable, Coroutine, Sequence
from difflib import SequenceMatcher
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tencrop.server.errors import ApiError, bad_parameter_error

MAX_NAME = 64  # characters of an unknown name in a message


class KnownParametersRoute(APIRoute):
    """The route class of /v1. A mistyped parameter would otherwise be ignored in silence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind a check of the query's names."""
        handle, known = super().get_route_handler(), [field.alias for field in self.dependant.query_params]

        async def check_and_handle(request: Request) -> Response:
            if request.scope["query_string"]:
                for name in request.query_params:
                    if name not in known:
                        raise unknown_name_error("parameter", name, known)
            return await handle(request)

        return check_and_handle


def unknown_name_error(kind: str, name: str, known: Sequence[str]) -> ApiError:
    """422 for an unknown name; `kind` says what is named."""
    short = name[:MAX_NAME]
    nearest = max(known, key=lambda other: SequenceMatcher(None, short.lower(), other).ratio(), default=None)
    advice = "none is known here" if nearest is None else f"the nearest known name is {nearest!r}"
    return bad_parameter_error(f"unknown {kind} {short!r}; {advice}")
