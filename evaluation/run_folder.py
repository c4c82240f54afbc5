"""Claim: a folder belongs to one run, told by all that could change a float or a count, and to one process at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.common.lock import LOCK, lock_folder

CLAIM = "claim.json"


@contextmanager
def lock_run_folder(out: Path, claim: Mapping[str, Any], resume: bool) -> Iterator[None]:
    """Hold the folder for the run that `claim` tells of; it is made where it is not there.

    Raises BadInput where it holds anything else, a run without `resume`, another run, or one that another process is at.
    """
    file = out / CLAIM
    with ExitStack() as stack:
        try:
            names = {path.name for path in out.iterdir()} if out.is_dir() else set()
            if CLAIM not in names and names - {LOCK, f"{CLAIM}.partial"}:
                raise BadInput(f"{out}: not empty and no run of ours; choose another --out")
            stack.enter_context(lock_folder(out))
            if not file.exists():
                write_atomic(file, json.dumps(claim, indent=1) + "\n")
            elif not resume:
                raise BadInput(f"{out}: holds a run already; add --resume to go on with it, or choose another --out")
            for key, was in json.loads(file.read_text(encoding="utf-8")).items():
                if claim.get(key) != was:
                    raise BadInput(f"{out}: --resume: the run there has another {key}; choose another --out")
        except (ValueError, AttributeError):
            raise BadInput(f"{file}: damaged; remove {out} or choose another --out") from None
        except OSError as error:
            raise BadInput(f"--out {out}: cannot be used ({error.strerror}); choose another folder") from None
        yield
