"""The message of a job that failed, for its client."""

from pathlib import Path

from tencrop.common.errors import TencropError
from tencrop.common.terminal_text import escape_text


def public_message(error: Exception, *folders: Path) -> str:
    """An error in one line that a client may read: without advice, and without the paths of these folders.

    A name that is not UTF-8 is escaped, since no JSON could hold it.
    """
    text = _what(error)
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    return escape_text(" ".join(text.split()))


def _what(error: Exception) -> str:
    if isinstance(error, TencropError):
        return error.what
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
