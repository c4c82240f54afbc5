"""Errors that end a command early with one line: bad input (exit 2), failed work (exit 1), stopped (128 + signal)."""

import signal

RESUME = "what was done is saved: go on with --resume"


class TencropError(Exception):
    """The base of every error that tencrop raises on purpose.

    `what` says what happened, `advice` what to do about it; `str(error)` joins them with "; ". A command prints both.
    An HTTP answer holds `what` alone, since its reader cannot change how the server was started.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what, advice)  # both, since an error is pickled on its way out of a worker process
        self.what, self.advice = what, advice

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}" if self.advice else self.what


class BadInput(TencropError):
    """The usage or the input is wrong; `what` names the file or the key. A command exits with code 2."""


class WorkFailed(TencropError):
    """This machine cannot do the work, as without the device or with a full disk. A command exits with code 1."""


class Stopped(TencropError):
    """The work was asked to stop, and has saved what it needs to continue. A command exits with code 128 + `number`.

    number: the signal that asked. It is SIGTERM's where another process received the signal.
    """

    def __init__(self, what: str, advice: str = RESUME, number: int = signal.SIGTERM) -> None:
        super().__init__(what, advice)
        self.number = number


def lower_first(sentence: str) -> str:
    """Another library's sentence as the end of ours. What it quotes keeps its capitals."""
    return sentence[:1].lower() + sentence[1:]


def one_line(error: object, longest: int = 200) -> str:
    """Another library's message on one line of at most `longest` characters."""
    return " ".join(str(error).split())[:longest]


def whole_line(error: object) -> str:
    """Another library's message on one line, at most 2,000 characters: some name the cause at their end."""
    return one_line(error, 2000)
