"""Opens tars for reading at any position. A compressed tar is decompressed to a temporary file first."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from tencrop.common.errors import BadInput, WorkFailed, one_line
from tencrop.dataset.byte_range import read_range

CODECS = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.zst": "zstd"}  # by the end of the name; pyarrow has both
MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"(\xb5/\xfd"}  # where it is missing, a browser has decompressed the file
KEPT = 2  # decompressed tars that stay: of the images that are read now, and of the next ones
MAX_RATIO = 100  # of a tar to its compressed form; photographs hardly shrink
ALWAYS = 64 << 20  # bytes that any tar may have; one of a few small files is mostly zeros
BLOCK = 1 << 20  # bytes that are decompressed at once


class TarOpener:
    """Opens the tars of one data set, for several threads.

    The KEPT decompressed tars that were used last stay in temporary files without a name. The system frees their room
    when they are closed or the process dies. A pickled opener holds none: another process decompresses for itself.
    """

    def __init__(self) -> None:
        self._copies: dict[Path, io.FileIO] = {}  # the one that was used last is last
        self._lock = Lock()

    def __reduce__(self) -> Any:
        return TarOpener, ()

    def __del__(self) -> None:
        for copy in self._copies.values():
            copy.close()

    def open(self, file: Path) -> io.FileIO:
        """Open a tar. The caller closes it.

        Raises OSError where it cannot be read, BadInput where it is damaged or inflates too far, WorkFailed where there
        is no room for a decompressed one.
        """
        codec = next((codec for suffix, codec in CODECS.items() if file.name.endswith(suffix)), None)
        if codec is None or not _begins_with(file, MAGIC[codec]):
            return file.open("rb", buffering=0)
        with self._lock:
            while file not in self._copies and len(self._copies) >= KEPT:
                self._copies.pop(next(iter(self._copies))).close()
            copy = self._copies.pop(file, None) or _decompress(file, codec)
            self._copies[file] = copy
            return io.FileIO(os.dup(copy.fileno()))

    def read(self, file: Path, start: int, size: int) -> bytes:
        """Read `size` bytes from `start` of a tar. Raises as `open`, and OSError where the tar is too short."""
        with self.open(file) as opened:
            return read_range(opened, start, size, file)


def _begins_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def _decompress(file: Path, codec: str) -> io.FileIO:
    """Decompress to a temporary file. Raises as `TarOpener.open`."""
    most = max(ALWAYS, MAX_RATIO * file.stat().st_size)
    with file.open("rb") as packed, _report_full_disk(file):
        copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # stays open
        try:
            for block in _inflate(file, packed, codec):
                _write(copy, block)
                if copy.tell() > most:
                    raise BadInput(f"{file}: inflates to more than {most} bytes", "unpack it if that is right")
        except BaseException:
            copy.close()
            raise
        return copy


def _inflate(file: Path, packed: io.BufferedReader, codec: str) -> Iterator[bytes]:
    """Yield the decompressed blocks. Raises BadInput where the file is damaged."""
    try:
        with pa.CompressedInputStream(packed, codec) as stream:
            while block := stream.read(BLOCK):
                yield block
    except OSError as error:
        raise BadInput(f"{file}: not a whole {codec} file ({one_line(error)})", "fetch it again") from None


def _write(copy: io.FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[copy.write(rest) :]


@contextmanager
def _report_full_disk(file: Path) -> Iterator[None]:
    """Turn the OSError of a temporary file into WorkFailed."""
    try:
        yield
    except OSError as error:
        raise WorkFailed(
            f"{file}: no room for its decompressed copy ({error.strerror})", "set TMPDIR to a folder with more room"
        ) from None
