"""Asking a training to end: SIGTERM or Ctrl-C makes it save and stop; a second one ends it at once, but not under torchrun."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
TORCHRUN = "TORCHELASTIC_RUN_ID"  # the variable that it sets; it repeats a signal that all processes got, and kills after 30 s itself


class Stop:
    """While it is open, `requested` tells whether one of the signals has come."""

    def __init__(self) -> None:
        self.requested = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # Python sets handlers nowhere else
            self.before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if TORCHRUN not in os.environ:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
