"""Paths beside the routes' own: a slash at the end, a sub-path before, and the methods that a path allows."""

from collections.abc import Awaitable

from fastapi import FastAPI, Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class RootPath:
    """ASGI middleware for a server below a sub-path, whether the proxy before it cuts the sub-path off or not.

    Nothing inside knows the sub-path, so that no check of a path can be evaded by it.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app, self.root = app, root

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope.get("path", "")
        if path == self.root or path.startswith(f"{self.root}/"):
            scope["path"] = path[len(self.root) :] or "/"
        return self.app(scope, receive, send)


def accept_final_slashes(app: FastAPI) -> None:
    """Answer a path with a slash at its end as the path without, instead of a redirect."""
    router = app.router

    async def retry_without_slash(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.endswith("/") and not path.endswith("//") and path != "/":
            scope["path"] = path[:-1]
            await router(scope, receive, send)
        else:
            await router.not_found(scope, receive, send)

    router.redirect_slashes = False
    router.default = retry_without_slash


def find_allowed_methods(request: Request) -> list[str]:
    """The methods that the request's path answers. Starlette names those of its first route alone."""
    routes = request.app.router.routes
    allowed = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return sorted([*allowed, "HEAD"]) if "GET" in allowed else allowed
