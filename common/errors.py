"""How a command stops early, each with a one-line message: bad input (exit 2), failed work (exit 1), stopped (exit 0)."""


class TencropError(Exception):
    """The base of every error that tencrop raises on purpose.

    `what` says what happened, `advice` what to do about it; `str(error)` joins them with "; ". A command prints both;
    an HTTP answer holds `what` alone, for its reader cannot change how the server was started.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what, advice)  # both, for an error is pickled on its way out of a worker process
        self.what, self.advice = what, advice

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}" if self.advice else self.what


class BadInput(TencropError):
    """Wrong usage or wrong input; `what` names the file or key. Exit code 2."""


class WorkFailed(TencropError):
    """The input was fine but the work could not be done here (no such device, probe missed). Exit code 1."""


class Stopped(TencropError):
    """The work was asked to end and has saved what it needs to go on. Exit code 0."""


def one_line(error: object) -> str:
    """Another library's message on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200]
