"""Opens stdin, stdout and stderr where the process was started without them."""

import os


def open_closed_streams() -> None:
    """Let closed ones of the descriptors 0, 1 and 2 lead to /dev/null.

    Otherwise the next files or sockets would take their numbers, and what a library prints would go into these.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
