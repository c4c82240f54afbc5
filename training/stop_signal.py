"""Stop signals: the first SIGTERM or Ctrl-C saves and stops a training.

A second one ends it at once; under torchrun it does nothing.
"""

import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Environment variable that torchrun sets. torchrun repeats a signal to every process, so one signal may arrive twice,
# and it kills the processes after 30 s anyway.
TORCHRUN = "TORCHELASTIC_RUN_ID"

log = logging.getLogger(__name__)


class Stop:
    """Signal handlers while the context is open; `requested` becomes true with the first signal, which is answered.

    `number` is that signal's. It is SIGTERM's until one comes: under torchrun another process may receive it.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.requested = False
        self.speaks = speaks  # false in all processes of torchrun but one
        self.number: int = signal.SIGTERM
        self.previous: dict[signal.Signals, Any] = {}  # handlers

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # Python sets handlers nowhere else
            self.previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested, self.number = True, number
        when = "soon, when the other processes know of it"
        if TORCHRUN not in os.environ:
            self._restore()
            when = "after this batch; a second one ends the training at once"
        if self.speaks:
            log.warning("%s: the training is saved %s", signal.Signals(number).name, when)

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
