"""DataRoot: the folder below which clients name data sets. No path and no link leads out of it."""

import os
from contextlib import suppress
from http import HTTPStatus
from itertools import islice
from pathlib import Path

from tencrop.server.errors import ApiError

DATASET = "dataset"  # the parameter of a validation
KINDS = {"folder": Path.is_dir, "file": Path.is_file}
MAX_ENTRIES = 10_000  # of a folder that are looked at; a folder of photographs may hold millions
MAX_FOLDERS = 1000  # in one answer


class DataRoot:
    """The root, links resolved. `reserved` is the server's own folder, which is no data set."""

    def __init__(self, root: Path, reserved: Path) -> None:
        self._root, self._reserved = root, reserved

    def find(self, path: str) -> Path:
        """A data set's folder, links resolved.

        Raises ApiError 422 where it is missing, not below the data root, or holds the server's own folder.
        """
        folder = self._resolve(path)
        if self._reserved.is_relative_to(folder):
            raise _refuse("holds the state directory of the server; give a folder beside it")
        return folder

    def find_file(self, path: str, parameter: str) -> Path:
        """A file that a parameter names, links resolved. Raises ApiError 422 where it is not below the root."""
        return self._resolve(path, parameter, "file")

    def list_folders(self, below: str) -> list[str]:
        """The names of the folders in a folder, "" for the root itself, that may be given as data sets.

        At most MAX_FOLDERS, of the first MAX_ENTRIES entries. Hidden folders and links out of the root are left out.
        Raises ApiError 422 as `find`.
        """
        try:
            with os.scandir(self._resolve(below)) as entries:
                found = sorted(entry.name for entry in islice(entries, MAX_ENTRIES) if self._may_be_named(entry))
        except OSError as error:
            raise _refuse(f"cannot be read ({error.strerror})") from None
        return found[:MAX_FOLDERS]

    def _may_be_named(self, entry: "os.DirEntry[str]") -> bool:
        if entry.name.startswith(".") or not entry.name.isprintable():  # JSON cannot hold every name
            return False
        with suppress(OSError, RuntimeError):
            if entry.is_dir():
                folder = Path(entry.path).resolve()
                return folder.is_relative_to(self._root) and not self._reserved.is_relative_to(folder)
        return False

    def _resolve(self, path: str, parameter: str = DATASET, kind: str = "folder") -> Path:
        why = f"no such {kind} in the data root"
        with suppress(OSError, RuntimeError, ValueError):  # a path too long, a circle of links, a zero byte
            place = (self._root / path).resolve()
            if not place.is_relative_to(self._root) or Path(path).is_absolute() or ".." in Path(path).parts:
                why = "not in the data root; give a path below it"
            elif self._root in self._reserved.parents and place.is_relative_to(self._reserved):
                why = f"in the state directory of the server; give a {kind} beside it"
            elif KINDS[kind](place):
                return place
        raise _refuse(why, parameter)


def _refuse(why: str, parameter: str = DATASET) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"bad_{parameter}", f"{parameter}: {why}")
