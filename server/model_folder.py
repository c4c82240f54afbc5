"""ModelFolder: the folder of --model-repository. Its models may be loaded and unloaded while the server runs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from tencrop.common.errors import BadInput

FILE, SUFFIX = "tencrop.onnx", ".onnx"


class ModelFile(NamedTuple):
    """A model's file, and the numbers that tell whether it has changed."""

    path: Path
    is_inside: bool  # no link leads out of the repository
    inode: int
    size: int  # bytes
    time_ns: int  # of the last change

    def check(self) -> Path:
        """The path. Raises BadInput where a link leads out of the repository."""
        if not self.is_inside:
            raise BadInput(f"{self.path}: a link that leads out of the repository", "copy the file into it")
        return self.path


class ModelFolder:
    """The models are NAME/tencrop.onnx, as `tencrop export` writes them, and NAME.onnx.

    Where both exist, the folder counts. Hidden names, names that JSON cannot hold, and what cannot be read do not.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.root = path, path.resolve()

    def list_files(self) -> dict[str, ModelFile]:
        """The models' files by name, in the order of the names. Raises BadInput where the folder cannot be read."""
        try:
            found = dict(self._look())
        except OSError as error:
            raise BadInput(f"--model-repository {self.path}: cannot be read ({error.strerror})") from None
        return dict(sorted(found.items()))

    def _look(self) -> Iterator[tuple[str, ModelFile]]:
        """Yield the models. Of two with one name the last one counts."""
        visible = [path for path in self.root.iterdir() if path.name.isprintable() and not path.name.startswith(".")]
        files = [(path.stem, path) for path in visible if path.suffix == SUFFIX]
        for name, path in (*files, *((path.name, path / FILE) for path in visible)):
            with suppress(OSError, RuntimeError):  # no such file, a circle of links
                status, is_inside = path.stat(), path.resolve().is_relative_to(self.root)
                if S_ISREG(status.st_mode):
                    yield name, ModelFile(path, is_inside, status.st_ino, status.st_size, status.st_mtime_ns)
