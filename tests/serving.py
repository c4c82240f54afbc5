"""A `tencrop serve` process on a free port, for the tests that need a real one."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SERVE = [sys.executable, "-m", "tencrop", "serve"]


@contextmanager
def served(*options: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and its address, http://host:port; it is killed at the end. `environment`, where it is given, is all of it."""
    command = [*SERVE, *options, "--port", "0"]
    with subprocess.Popen(
        command, text=True, env=environment or None, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield process, address(process)
        finally:
            process.kill()


def address(process: "subprocess.Popen[str]") -> str:
    """Where a process listens, once it has started; its stderr is read until then."""
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "startup complete" in line:
            break
    found = re.search(r"listening on (http://\S+)", "".join(seen))
    assert found, "".join(seen)
    return found[1]
