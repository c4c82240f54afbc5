"""Locks a run folder for one process. Refuses a run whose settings differ from those in the folder's claim.json."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tencrop.common.atomic import write_atomic
from tencrop.common.errors import BadInput
from tencrop.common.lock import LOCK, lock_folder

SETTINGS_FILE = "claim.json"


@contextmanager
def lock_run_folder(out: Path, settings: Mapping[str, Any], resume: bool) -> Iterator[None]:
    """Lock the run folder until the block ends. A new folder stores `settings` in claim.json.

    Raises BadInput where the folder holds other files, a run with other settings, or a run while `resume` is false, and
    where another process uses it.
    """
    file = out / SETTINGS_FILE
    with ExitStack() as stack:
        try:
            names = {path.name for path in out.iterdir()} if out.is_dir() else set()
            if SETTINGS_FILE not in names and names - {LOCK, f"{SETTINGS_FILE}.partial"}:
                raise BadInput(f"{out}: not empty and no run of ours", "choose another --out")
            stack.enter_context(lock_folder(out))
            if not file.exists():
                write_atomic(file, json.dumps(settings, indent=1) + "\n")
            elif not resume:
                advice = "add --resume to go on with it, or choose another --out"
                raise BadInput(f"{out}: holds a run already", advice)
            _check_settings(out, json.loads(file.read_text(encoding="utf-8")), settings)
        except (ValueError, AttributeError):
            raise BadInput(f"{file}: damaged", f"remove {out} or choose another --out") from None
        except OSError as error:
            raise BadInput(f"{out}: cannot be used ({error.strerror})", "choose another --out") from None
        yield


def _check_settings(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare the settings of the run in the folder with those of this run. Raises BadInput where they differ."""
    for key, value in before.items():
        if now.get(key) != value:
            raise BadInput(
                f"{out}: the run there has another {key}", "choose another --out, or resume it with the same settings"
            )
