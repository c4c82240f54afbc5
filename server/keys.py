"""API keys, checked before a request's body is read. `tencrop key NAME` prints a line "NAME SHA256" of their file."""

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from tencrop.common.errors import BadInput
from tencrop.server.errors import ApiError

GUARDED = ("/v1/", "/v2")  # probes, metrics, the page and the documentation need no key
ROOT = "/"  # shows the page, and answers images that are posted
FREE = "/v2/health/"
PRIVATE = 0o600  # mode of a key file
LINE = re.compile(r"(\S+)\s+([0-9a-f]{64})")
log = logging.getLogger("uvicorn.error")
REALM = {"WWW-Authenticate": "Bearer"}
ADVICE = "`tencrop key NAME` makes one"


def generate_key() -> str:
    """A new key: 256 random bits as text. So many need no salt and no slow hash."""
    return secrets.token_urlsafe(32)


def add_key(path: Path, name: str, key: str) -> None:
    """Append a key's line to a file, which only its owner may read and write from then on. Raises OSError.

    A line is appended by one write, so two commands at once lose none.
    """
    opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE)
    with open(opened, "ab") as file:
        if hasattr(os, "fchmod"):  # Windows lacks it
            os.fchmod(opened, PRIVATE)
        size = os.fstat(opened).st_size
        gap = b"\n" if size and os.pread(opened, 1, size - 1) != b"\n" else b""
        file.write(gap + f"{name} {hash_key(key)}\n".encode())
        file.flush()
        os.fsync(opened)


def hash_key(key: str) -> str:
    """The SHA-256 of a key, which is all that the file holds."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Keys:
    """The names of the keys' owners, by the SHA-256 of their keys."""

    names: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """Read a key file; # starts a comment. Raises BadInput for an unreadable file, a bad line, or no key.

        Logs a warning where other users may read the file, which tells them the owners' names, or change it.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise BadInput(f"--api-key-file {path}: cannot be read ({why})") from None
        if os.name == "posix" and (mode := path.stat().st_mode & 0o777) & stat.S_IRWXO:
            log.warning("--api-key-file %s: other users have access to it (mode %o); use chmod 600", path, mode)
        names = {}
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            found = LINE.fullmatch(text)
            if text and not found:
                raise BadInput(f'--api-key-file {path}: line {number} is not "NAME SHA256"', ADVICE)
            if found:
                names[found[2]] = found[1]
        if not names:
            raise BadInput(f"--api-key-file {path}: holds no key", ADVICE)
        return cls(names)

    def find_owner(self, key: str) -> str | None:
        """The name of the key's owner. Takes as long for a wrong key as for a right one."""
        asked, owner = hash_key(key), None
        for known, name in self.names.items():
            if hmac.compare_digest(known, asked):
                owner = name
        return owner


def is_guarded(path: str, method: str) -> bool:
    """Return whether a path answers only the owners of keys."""
    return (path.startswith(GUARDED) and not path.startswith(FREE)) or (path == ROOT and method == "POST")


class ApiKeys:
    """ASGI middleware: 401 for a guarded path without one of the file's keys."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not is_guarded(path, scope["method"]):
            await self.app(scope, receive, send)
            return
        owner = self.keys.find_owner(_sent_key(scope))
        if owner is None:
            error = ApiError(HTTPStatus.UNAUTHORIZED, "unauthorized", "send a key: Authorization: Bearer KEY", REALM)
            await error.response(path)(scope, receive, send)
            return
        scope["tencrop.key"] = owner
        await self.app(scope, receive, send)


def _sent_key(scope: Scope) -> str:
    """The key of `Authorization: Bearer KEY` or `X-API-Key: KEY`; else an empty string, which is no key."""
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    kind, _, key = headers.get(b"authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get(b"x-api-key", "")
