"""The main program of a process that decodes images (images/decode_processes.py).

python -m tencrop.images.decode_process SOCKET LOCK

SOCKET and LOCK are descriptors that the process inherits. The first message names a function; each further one holds
its arguments, and is answered with its result, or with what it raised. The process ends when the other end is closed,
so it never outlives its parent.
"""

import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from tencrop.common.lock import FileLock
from tencrop.images.heif_open import decode_in_one_thread
from tencrop.images.large_image_lock import one_large
from tencrop.images.pillow_warnings import filter_pillow_warnings, silence_libtiff


def run(parent: Connection) -> None:
    """Answer calls until the parent is gone. Raises EOFError or OSError then."""
    function = parent.recv()
    while True:
        arguments = parent.recv()
        result, raised = None, None
        try:
            result = function(*arguments)
        except Exception as error:
            error.add_note(traceback.format_exc())
            raised = error
        parent.send((result, raised))


if __name__ == "__main__":
    descriptor, lock = map(int, sys.argv[1:])
    filter_pillow_warnings()
    silence_libtiff()
    decode_in_one_thread()
    one_large.share(FileLock(Path(f"/proc/self/fd/{lock}")))  # opened anew, for a lock belongs to what opened it
    with suppress(EOFError, OSError):
        run(Connection(descriptor))
