"""Claim: a folder belongs to one run, told by all that could change a float or a count, and to one process at a time."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from model.errors import BadInput
from model.whole import write_whole

CLAIM = "claim.json"


@contextmanager
def claimed(out: Path, claim: Mapping[str, Any], resume: bool) -> Iterator[None]:
    """Hold the folder for the run that `claim` tells of; it is made where it is not there.

    Raises BadInput where it holds anything else, a run without `resume`, another run, or one that another process is at.
    """
    file = out / CLAIM
    try:
        if file.exists():
            if not resume:
                raise BadInput(f"{out}: holds a run already; add --resume to go on with it, or choose another --out")
            for key, was in json.loads(file.read_text(encoding="utf-8")).items():
                if claim.get(key) != was:
                    raise BadInput(f"{out}: --resume: the run there has another {key.replace('_', ' ')}; choose another --out")
        elif out.is_dir() and any(path.name != f"{CLAIM}.partial" for path in out.iterdir()):
            raise BadInput(f"{out}: not empty and no run of ours; choose another --out")
        else:
            out.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(claim, indent=1) + "\n")
        held = file.open()
    except (ValueError, AttributeError):
        raise BadInput(f"{file}: damaged; remove {out} or choose another --out") from None
    except OSError as error:
        raise BadInput(f"--out {out}: cannot be used ({error.strerror}); choose another folder") from None
    with held:
        if not locked(held):
            raise BadInput(f"{out}: another process is at this run; wait for it, or choose another --out")
        yield


def locked(held: IO[str]) -> bool:
    """Whether the file is this process's now; the kernel lets go of it when the process ends, however it does."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
