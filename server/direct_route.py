"""DirectRoute: a route that calls its endpoint without FastAPI's handler.

That handler solves the dependencies anew and validates the answer once more. It took a quarter of the event loop's time
of a request.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tencrop.server.json_body import JSON
from tencrop.server.known_parameters import read_query


class Rendered(NamedTuple):
    """An answer, and the headers that it has besides."""

    answer: BaseModel
    headers: Mapping[str, str]


class DirectRoute(APIRoute):
    """For endpoints of (request, state, query) that return Rendered, or a Response that was rendered in a thread.

    `query` is a model of the query's parameters.
    FastAPI describes the route in the OpenAPI document by its parameters and its `response_model`, as any other.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the query, call the endpoint, and render the answer without the fields that are None."""
        (parameter,) = self.dependant.query_params
        kind = cast(type[BaseModel], parameter.field_info.annotation)

        async def handle(request: Request) -> Response:
            found = await self.endpoint(request, request.app.state.server_state, read_query(request, kind))
            if isinstance(found, Response):
                return found
            answer, headers = found
            return Response(answer.model_dump_json(exclude_none=True), media_type=JSON, headers=dict(headers))

        return handle
