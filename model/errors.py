"""The two ways a command ends badly, each one line: the caller's input (exit 2) or the work itself (exit 1)."""


class BadInput(Exception):
    """Wrong usage or wrong input; the message names the file or key and says what to do. Exit code 2."""


class WorkFailed(Exception):
    """The input was fine but the work could not be done here (no such device, probe missed). Exit code 1."""
