"""HTTP/1.1 as uvicorn reads it, with a bound that it lacks: a request's head has a deadline and a size."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0  # from the first moment at which a head can come until it is complete
HEAD_BYTES = 64 << 10


class HeadLimits(HttpToolsProtocol):
    """Closes a connection whose next head is late, or larger than HEAD_BYTES (431)."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head = 0  # bytes of it so far

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
        elif self._in_head and not self._timer and not self.transport.is_closing():
            self._wait()

    def on_headers_complete(self) -> None:
        self._stop()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head = True, 0

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _late(self) -> None:
        if self.cycle and not self.cycle.response_complete:  # it waits for us, not we for it
            self._wait()
        else:
            self._timer = None
            self.transport.close()
