"""KnownParametersRoute: a route that refuses query parameters that it does not know, and names the nearest."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from tencrop.server.errors import ApiError, bad_parameter_error, validation_error

MAX_NAME = 64  # characters of an unknown name in a message

Parameters = TypeVar("Parameters", bound=BaseModel)


class KnownParametersRoute(APIRoute):
    """The route class of /v1. A mistyped parameter would otherwise be ignored in silence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind a check of the query's names."""
        handle, known = super().get_route_handler(), [field.alias for field in self.dependant.query_params]

        async def check_and_handle(request: Request) -> Response:
            _check_names(request.query_params, known)
            return await handle(request)

        return check_and_handle


def read_query(request: Request, kind: type[Parameters]) -> Parameters:
    """The parameters of a request's query. Raises ApiError 422 for an unknown name or a value that does not fit."""
    given = request.query_params if request.scope["query_string"] else {}
    _check_names(given, list(kind.model_fields))
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise validation_error(error) from None


def _check_names(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_name_error("parameter", name, known)


def unknown_name_error(kind: str, name: str, known: Sequence[str]) -> ApiError:
    """422 for an unknown name; `kind` says what is named."""
    short = name[:MAX_NAME]
    nearest = max(known, key=lambda other: SequenceMatcher(None, short.lower(), other).ratio(), default=None)
    advice = "none is known here" if nearest is None else f"the nearest known name is {nearest!r}"
    return bad_parameter_error(f"unknown {kind} {short!r}; {advice}")
