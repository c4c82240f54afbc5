"""WholeFile: a file as an answer, always whole. A Range header is ignored, as RFC 9110, 14.2, allows."""

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send


class WholeFile(FileResponse):
    """Starlette's own answer sends a file many times over if asked for many ranges, and refuses some in plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        self.headers["Accept-Ranges"] = "none"
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)
