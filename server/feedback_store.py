"""FeedbackStore: the answers of a model and its shadow to the newest requests, and the labels that came later."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tencrop.common.errors import BadInput

KEPT = 100_000  # requests, the newest; about 60 bytes each
SCHEMA = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # no answer waits for the disk; a crash of the machine may lose the newest rows
    "CREATE TABLE IF NOT EXISTS answers "
    "(number INTEGER PRIMARY KEY, request INTEGER UNIQUE, model TEXT, shadow TEXT, label TEXT)",
)


class Pair(NamedTuple):
    """The ids of the labels that a model and its shadow gave one image."""

    model: str
    shadow: str


class Right(NamedTuple):
    """Numbers of labelled images by who was right: the cells of McNemar's table."""

    both: int
    only_model: int
    only_shadow: int
    neither: int


class FeedbackStore:
    """An SQLite file. Requests have the numbers of `number_request`. Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        """Open the file, created where it is missing. Raises BadInput where it is no such file."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            for statement in SCHEMA:
                self._execute(statement)
        except sqlite3.Error as error:
            raise BadInput(f"{file}: cannot be used ({error})", "move it away, or choose another --state-dir") from None

    def keep(self, request: int, pair: Pair) -> None:
        """Keep the answers to a request, in place of those to an earlier one of the same id. Raises sqlite3.Error."""
        (number,) = self._execute(
            "INSERT OR REPLACE INTO answers (request, model, shadow) VALUES (?, ?, ?) RETURNING number",
            (request, *pair),
        )[0]
        self._execute("DELETE FROM answers WHERE number <= ?", (number - KEPT,))

    def label(self, request: int, label: str) -> Pair | None:
        """Set the id of a request's true label, in place of an earlier one. None for a request that is not kept.

        Raises sqlite3.Error.
        """
        rows = self._execute("UPDATE answers SET label = ? WHERE request = ? RETURNING model, shadow", (label, request))
        return Pair(*rows[0]) if rows else None

    def count(self) -> Right:
        """Count the labelled requests by who was right. Raises sqlite3.Error."""
        return Right(
            *self._execute(
                "SELECT count(*) FILTER (WHERE model = label AND shadow = label), "
                "count(*) FILTER (WHERE model = label AND shadow <> label), "
                "count(*) FILTER (WHERE model <> label AND shadow = label), "
                "count(*) FILTER (WHERE model <> label AND shadow <> label) FROM answers"
            )[0]
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _execute(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()
