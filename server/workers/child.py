"""Starts a child process by fork, and says how one ended."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable

from tencrop.common.errors import TencropError
from tencrop.server.http_server import HANGUP

ENDING = (signal.SIGTERM, signal.SIGINT, *([HANGUP] if HANGUP else []))  # at which the supervisor ends the server

log = logging.getLogger("uvicorn.error")


def fork(child: Callable[[], None], ignored: Iterable[int] = ()) -> int:
    """Start a process that calls `child`, and return its id. Its exit code is 1 where `child` raises.

    No signal comes between. The parent must have no threads but those that sleep for ever, as OpenBLAS's do. The
    process has the default signal handlers, except for signals that are ignored already and those in `ignored`.
    Raises OSError.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream:
            stream.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later, which counts such threads
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                _reset_signals(ignored)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if pid:
        return pid
    code = 1
    try:
        child()
        code = 0
    except TencropError as error:
        log.error("%s", error)
    except BaseException:  # the parent's code must not run here
        log.exception("process %d ends", os.getpid())
    finally:
        logging.shutdown()
        os._exit(code)


def describe_end(status: int) -> str:
    """The end of a process in words, from the status that `wait` gives."""
    code = os.waitstatus_to_exitcode(status)
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _reset_signals(ignored: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for handled in (*ENDING, signal.SIGCHLD):
        if signal.getsignal(handled) is not signal.SIG_IGN:
            signal.signal(handled, signal.SIG_DFL)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
