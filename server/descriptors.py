"""Watches the process's file descriptors, of which each connection takes one: connections never take the last ones."""

import errno
import logging
import os
import time
from asyncio import BaseTransport
from contextlib import suppress
from functools import cached_property

from prometheus_client import Counter

with suppress(ImportError):  # Windows has no limit
    import resource

RESERVED = 32  # descriptors for files: validations, pages, /metrics; at most a quarter of the limit
LINE_SECONDS = 60.0  # between two lines in the log

log = logging.getLogger("uvicorn.error")


class DescriptorWatch:
    """Counts what finds no file descriptor, and logs a line a minute."""

    def __init__(self) -> None:
        self._last_line = -LINE_SECONDS

    @cached_property
    def exhausted(self) -> Counter:
        """The count of moments without a descriptor. Made when first used, for a worker shares its metrics later."""
        words = "connections closed, and seconds, without a free file descriptor"
        return Counter("tencrop_descriptors_exhausted", words, registry=None)

    def has_room(self, transport: BaseTransport) -> bool:
        """Return whether a new connection may stay. Counts a connection that may not."""
        limit = _limit()
        number = transport.get_extra_info("socket").fileno()  # the lowest free one, so all below it are in use
        if number < limit - min(RESERVED, limit // 4):
            return True
        self._record(limit)
        return False

    def check(self) -> None:
        """Count a moment in which the process cannot open a file. To be called every second."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._record(_limit())

    def _record(self, limit: int) -> None:
        self.exhausted.inc()
        if time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            log.warning("no file descriptor is left (limit %d): new connections are closed; raise `ulimit -n`", limit)


def _limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


WATCH = DescriptorWatch()  # descriptors belong to the process, not to an application
