"""Adds a time limit and a size limit on request heads to uvicorn's HTTP/1.1 parser, which has none."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0  # from the first moment at which a head may arrive until it is complete
HEAD_BYTES = 64 << 10


class HeadLimits(HttpToolsProtocol):
    """Closes a connection whose next head is late, or (with a 431) larger than HEAD_BYTES."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0  # received so far

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
        elif self._in_head and not self._timer and not self.transport.is_closing():
            self._start_timer()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._close_late)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _close_late(self) -> None:
        if self.cycle and not self.cycle.response_complete:  # the client waits for an answer
            self._start_timer()
        else:
            self._timer = None
            self.transport.close()
