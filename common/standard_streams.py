"""Opens stdin, stdout and stderr where the process was started without them."""

import os
import sys

STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}  # by their descriptors 0, 1 and 2


def open_closed_streams() -> None:
    """Let closed ones of the three streams lead to /dev/null, as descriptors and in `sys`, where Python left None.

    Otherwise the next files or sockets would take their numbers, and what a library prints would go into these.
    """
    for descriptor, (name, mode) in enumerate(STREAMS.items()):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
