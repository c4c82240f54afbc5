"""AllowedHosts: refuses requests for host names that are not the server's own.

A page of another origin can let its name resolve to 127.0.0.1 (DNS rebinding). The browser then takes a server on this
machine for a part of that page, but it still sends the page's name as Host.
"""

import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from tencrop.server.errors import ApiError

LOCALHOST = "localhost"
HOST = re.compile(rb"(\[[^\]]{,64}\]|[^:\[\]]{,254})(?::\d{,5})?")  # name and port of the header; no name is longer
MAX_NAME = 64  # characters of a name in a message


class AllowedHosts:
    """ASGI middleware: 421 for a Host that is no literal address, not localhost, and none of `names`.

    A name may be "*" for every host, or "*.example.com" for every host below example.com.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app, self.names = app, {LOCALHOST, *names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"] if scope["type"] == "http" else []
        foreign = next((host for host in hosts if not self._allows(host)), None)
        if foreign is None:
            await self.app(scope, receive, send)
            return
        what = f"this server does not answer for {foreign.decode('latin-1')[:MAX_NAME]!r}"
        error = ApiError(HTTPStatus.MISDIRECTED_REQUEST, "unknown_host", what)
        await error.response(scope["path"])(scope, receive, send)

    def _allows(self, value: bytes) -> bool:
        found = HOST.fullmatch(value)
        if not found:
            return "*" in self.names
        name = found[1].decode("latin-1").lower()
        parts = name.removesuffix(".").split(".")
        above = ("*." + ".".join(parts[i:]) for i in range(1, len(parts)))
        return not self.names.isdisjoint(("*", ".".join(parts), *above)) or _is_address(name)


def is_loopback(host: str) -> bool:
    """True where only this machine reaches a server that listens on `host`, False where the name is unknown."""
    try:
        address = ip_address(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, ValueError):  # binding it will fail and say why
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@lru_cache(maxsize=64)  # nearly all requests name the same host
def _is_address(name: str) -> bool:
    try:
        return ip_address(name.removeprefix("[").removesuffix("]")) is not None
    except ValueError:
        return False
