"""A `tencrop serve` process that tells where it listens, for the tests that need a real one."""

import re
import subprocess


def address(process: "subprocess.Popen[str]") -> str:
    """http://host:port, once it has started; its stderr is read until then."""
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "startup complete" in line:
            break
    found = re.search(r"listening on (http://\S+)", "".join(seen))
    assert found, "".join(seen)
    return found[1]
