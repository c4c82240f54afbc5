"""Connection: uvicorn's HTTP/1.1 protocol with limits on heads, on bodies that nobody reads, and on silent clients."""

import asyncio
from enum import Enum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tencrop.server.body_limits import DROPPED_SIZE, REST_DEADLINE
from tencrop.server.descriptors import WATCH
from tencrop.server.errors import REFUSED, ApiError
from tencrop.server.refused_head import RefusedHead, bad_request, head_too_large, late, not_http, too_many_headers
from tencrop.server.stalled_writes import StalledWrites

HEAD_SECONDS = 10.0  # from a head's first byte, or a new connection, until the head is complete; and without body bytes
HEAD_BYTES = 64 << 10  # of a head, its trailers and the frames of its chunks together
HEADERS = 128  # of a head, and of its trailers; browsers behind proxies send some 40
CHUNK_FRAME_BYTES = 16  # of each chunk do not count
REST_SECONDS = 20.0  # from an answer until the end of a body that nobody reads
MAX_UNREAD = 1 << 20  # bytes of a body that nobody reads yet: its request waits for its turn
MAX_PIPELINED = 256  # requests of one connection that wait for their turn
LOGGED_PATH = 1024  # bytes of a refused request's path

Stage = Enum("Stage", "IDLE HEAD BODY")  # of the message that arrives
IDLE, HEAD, BODY = Stage  # names of this module are found faster than members


class Connection(HttpToolsProtocol):
    """Answers a request that the parser or a limit refuses with an error object, and ends the connection then.

    Head, trailers and frames of chunks: 431 above HEAD_BYTES or HEADERS, closed after HEAD_SECONDS. A body that follows
    its answer is dropped for REST_SECONDS. An answer that its client does not read is dropped, too (StalledWrites).
    """

    url = b""
    _stage = HEAD
    _head_bytes = 0  # received of this message, without its body
    _has_body = False  # whether the newest data held a part of the body
    _rest_bytes = 0  # of the body since the answer
    _refused = False
    _running: RequestResponseCycle | None = None  # the request that is being answered
    _head_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._writes = StalledWrites(transport, self.loop)
        if WATCH.has_room(transport):
            self._start_head_timer()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        self._writes.stop()
        running = self._running
        if running and not running.response_complete:
            self.logger.debug("%s: the client left before its answer was complete", self.client)
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle  # uvicorn keeps the newest, and would tell that one alone that the client left
        super()._start_asgi_task(cycle, app)

    # ---- what arrives

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        before = self._stage
        if before is IDLE:
            self._stage = HEAD
        self._has_body = False
        self._head_bytes = max(self._head_bytes, 0) + len(data)
        self._parse(data)
        if self._head_bytes > HEAD_BYTES and not self._refused:
            self._refuse(head_too_large(HEAD_BYTES))
        self._time_head(before)

    def _parse(self, data: bytes) -> None:
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as offer:
                    data = self._ignore_offer() + data[offer.args[0] :]
        except httptools.HttpParserError as error:
            known = error.__context__  # raised by a callback below
            self._refuse(known if isinstance(known, ApiError) else not_http(error))

    def _ignore_offer(self) -> bytes:
        """Start a new parser -> the head that offered another protocol, without the offer (RFC 9110, 7.8).

        The parser takes everything after such a head for the other protocol.
        """
        start = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join([start, *kept, b"\r\n"])

    def on_message_begin(self) -> None:
        self._stage = HEAD
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS:  # the shortest of them take 30 times their bytes
            raise too_many_headers(HEADERS)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # the parser stops here; _ignore_offer follows
        self._check_head()
        super().on_headers_complete()
        self._stage = BODY
        self.headers = []  # of trailers: they belong to no request

    def _check_head(self) -> None:
        """Check the size of the head, its Host and the requests that wait. Raises ApiError."""
        if self._head_bytes > HEAD_BYTES and self._measure_head() > HEAD_BYTES:
            raise head_too_large(HEAD_BYTES)
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            raise bad_request("the request must have one Host header")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise bad_request(f"{MAX_PIPELINED} requests of this connection wait for their turn")

    def _measure_head(self) -> int:
        """The bytes of a complete head, without what came behind it in the same data."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        self._head_bytes -= len(body) + CHUNK_FRAME_BYTES
        if self.cycle.response_complete:
            self._rest_bytes += len(body)
            if self._rest_bytes > DROPPED_SIZE * self._max_body_bytes():
                self._close()
        elif len(self.cycle.body) > MAX_UNREAD:
            self._close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._stage is not BODY:
            return  # a head that offers an upgrade
        super().on_message_complete()
        self._stage, self._head_bytes, self.url = IDLE, 0, b""
        if self._head_timer or self._rest_timer:
            self._stop_timers()
        if self.cycle.response_complete and not self.transport.is_closing():  # uvicorn starts the clock at an answer
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # ---- what is refused

    def _refuse(self, error: ApiError) -> None:
        """Answer with the error instead of the message that arrives, and end the connection then."""
        self._refused = True
        self._stop_timers()
        if self._stage is not BODY:
            self._answer_head(error)
        elif self.cycle.response_started:
            self._close()
        else:
            cast(dict[str, Any], self.scope)[REFUSED] = error
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    def _answer_head(self, error: ApiError) -> None:
        """Pass the error to the application as a request, so that it is answered in turn, logged and counted."""
        path = self.url.partition(b"?")[0][:LOGGED_PATH].decode("latin-1")
        self.parser = RefusedHead(self.parser.get_method() if self.url else b"")  # type: ignore[assignment]
        super().on_message_begin()
        self.url = b"/"
        super().on_headers_complete()
        self.cycle.more_body = False
        cast(dict[str, Any], self.scope).update({"path": path, REFUSED: error})

    # ---- the clocks

    def _time_head(self, before: Stage) -> None:
        """Let the clock run while a head, or what is neither head nor body, is under way."""
        if self._stage is HEAD or (self._stage is before is BODY and not self._has_body):
            if not self._head_timer and not self._refused:
                self._start_head_timer()
        elif self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end_head)

    def _end_head(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        elif self._stage is BODY and not self.flow.read_paused:
            self._refuse(late(HEAD_SECONDS))
        else:  # the client waits for an answer
            self._start_head_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._writes.watch()
        elif self._stage is BODY and self.cycle.response_complete:
            self._rest_bytes = 0
            seconds = cast(dict[str, Any], self.scope).get(REST_DEADLINE, REST_SECONDS)
            self._rest_timer = self.loop.call_later(seconds, self._close)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._rest_timer):
            if timer:
                timer.cancel()
        self._head_timer = self._rest_timer = None

    # ---- what is sent

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writes.watch()

    def resume_writing(self) -> None:
        self._writes.stop()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def shutdown(self) -> None:
        super().shutdown()
        self._writes.is_draining = True
        self._writes.watch()

    def _close(self) -> None:
        """Close the connection once everything is sent."""
        self.transport.close()
        self._writes.watch()

    def _max_body_bytes(self) -> int:
        return int(cast(Any, self.config.app).state.server_state.settings.max_body_bytes)
