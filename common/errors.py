"""How a command ends before it is done, each one line: the caller's input (exit 2), the work itself (exit 1), or a wish (exit 0)."""


class BadInput(Exception):
    """Wrong usage or wrong input; the message names the file or key and says what to do. Exit code 2."""


class WorkFailed(Exception):
    """The input was fine but the work could not be done here (no such device, probe missed). Exit code 1."""


class Stopped(Exception):
    """The work was asked to end and has saved what it takes to go on. Exit code 0."""


class ImageError(BadInput):
    """An image that cannot be answered; `code` is its name in the HTTP interface."""

    code = "damaged_image"


def one_line(error: object) -> str:
    """The gist of another library's message."""
    return " ".join(str(error).split())[:200]
