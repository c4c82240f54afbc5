"""StalledWrites: aborts a connection whose client stops reading while an answer waits to be sent."""

import asyncio

WRITE_SECONDS = 20.0  # without progress; the connection ends then
DRAIN_WRITE_SECONDS = 5.0  # the same while the server drains
LOOKS = 8  # at the unsent bytes in WRITE_SECONDS


class StalledWrites:
    """Watches the unsent bytes of one connection from `watch` until they are sent."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes at the last look
        self._progress = 0.0  # loop time of the last progress
        self.is_draining = False

    def watch(self) -> None:
        """Start, unless nothing is unsent or the watch runs already."""
        unsent = self._transport.get_write_buffer_size()
        if unsent and not self._timer:
            self._unsent, self._progress = unsent, self._loop.time()
            self._look_later()

    def stop(self) -> None:
        """End the watch: everything was sent, or the connection is lost."""
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(WRITE_SECONDS / LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        unsent, now = self._transport.get_write_buffer_size(), self._loop.time()
        if unsent < self._unsent:
            self._progress = now
        self._unsent = unsent
        limit = DRAIN_WRITE_SECONDS if self.is_draining else WRITE_SECONDS
        if unsent and now - self._progress >= limit:
            self._transport.abort()
        elif unsent:
            self._look_later()
