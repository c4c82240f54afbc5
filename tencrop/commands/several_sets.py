"""SeveralSets: the data sets of one command by their names. Where one of several fails, the others go on."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tencrop.commands.output import print_error
from tencrop.common.errors import BadInput, WorkFailed

Result = TypeVar("Result")


class SeveralSets:
    """Folders by their names, the shortest ends of their paths that differ, and the errors so far by these names.

    Raises BadInput where a folder is named twice.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = dict(zip(_name_folders(folders), folders, strict=True))
        self.errors: dict[str, str] = {}

    def each(self, names: Iterable[str], work: Callable[[str], Result]) -> dict[str, Result]:
        """Do this work for each set in turn, and return the results of those without an error.

        Raises BadInput or WorkFailed of the work where there is a single set.
        """
        done = {}
        for name in names:
            try:
                done[name] = work(name)
            except (BadInput, WorkFailed) as error:
                if len(self.folders) == 1:
                    raise
                print_error(error)
                self.errors[name] = str(error)
        return done


def _name_folders(folders: Sequence[Path]) -> list[str]:
    paths = [folder.resolve().parts[1:] for folder in folders]
    twice = next((folder for index, folder in enumerate(folders) if paths[index] in paths[:index]), None)
    if twice:
        raise BadInput(f"{twice}: named twice", "name each data set once")
    depth = next(
        depth for depth in range(1, 1 + max(map(len, paths))) if len({path[-depth:] for path in paths}) == len(paths)
    )
    return ["/".join(path[-depth:]) for path in paths]
