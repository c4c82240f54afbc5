"""Reads the files of a form while the form arrives. The parser's time is bounded, whatever the form's bytes are."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tencrop.server.body_stream import max_body_bytes, stream_body
from tencrop.server.errors import bad_parameter_error, bad_request_error
from tencrop.server.known_parameters import unknown_name_error

FORM = "multipart/form-data"
MAX_FIELDS = 8  # of a form, beside its files
MAX_SEMICOLONS = 64  # of a part's header; the time to read its parameters grows with their square
MAX_CONTENT_TYPE = 1024  # bytes that are looked at; the time grows with their square
BOUNDARY = re.compile(rb"[ !#-\[\]-~]{1,200}")  # printable characters, except those that a quoted text escapes


class _FormParser(MultiPartParser):
    """Keeps a form's files in memory: BodyLimits limits bodies as they arrive, and no file goes to a disk."""

    spool_max_size = 1 << 40

    def on_header_end(self) -> None:
        if self._current_partial_header_value.count(b";") > MAX_SEMICOLONS:
            raise MultiPartException(f"A header of a part has more than {MAX_SEMICOLONS} semicolons.")
        super().on_header_end()


async def read_files(request: Request, name: str, max_files: int) -> list[bytes]:
    """The files of one field.

    Raises ApiError where the field holds text, or more files than `max_files`, and where there is another field.
    """
    boundary = _read_boundary(request)
    # without a charset, of which some decode slowly: names are in UTF-8
    headers = Headers(raw=[(b"content-type", b'%b; boundary="%b"' % (FORM.encode(), boundary))])
    try:
        async with (
            aclosing(stream_body(request, max_body_bytes(request))) as body,
            aclosing(_check_delimiters(body, b"\r\n--" + boundary, max_files + MAX_FIELDS + 1)) as pieces,
        ):
            form = await _FormParser(headers, pieces, max_files=max_files + 1, max_fields=MAX_FIELDS).parse()
    except MultiPartException as error:
        raise bad_request_error(error.message) from None
    try:
        if unknown := next((field for field in form if field != name), None):
            raise unknown_name_error("form field", unknown, [name])
        files = form.getlist(name)
        if len(files) > max_files or not all(isinstance(file, UploadFile) for file in files):
            raise bad_parameter_error(f"the form must have file fields named `{name}`, at most {max_files}")
        return [await file.read() for file in files if isinstance(file, UploadFile)]
    finally:
        await form.close()


def _read_boundary(request: Request) -> bytes:
    """The boundary between a form's parts. Raises ApiError 400."""
    content_type = request.headers.get("content-type", "")[:MAX_CONTENT_TYPE]
    boundary: bytes = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not BOUNDARY.fullmatch(boundary):
        raise bad_request_error("the form's Content-Type names no boundary")
    return boundary


async def _check_delimiters(
    pieces: AsyncGenerator[bytes, None], delimiter: bytes, most: int
) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a form. Raises ApiError 400 above `most` delimiters, and for spaces behind one.

    The parser goes byte by byte over what looks like a delimiter, and over spaces behind it.
    """
    seen, tail = 0, b""
    async for piece in pieces:
        window = tail + piece
        seen += window.count(delimiter, max(len(tail) - len(delimiter) + 1, 0))
        if seen > most or any(delimiter + space in window for space in (b" ", b"\t")):
            raise bad_request_error(f"the form has more than {most} boundaries, or spaces behind one")
        tail = window[-len(delimiter) :]
        yield piece
