r"""Escapes characters that change how a terminal or a log shows a line: escape sequences, newlines, bidi marks.

The escapes are those of Python and JSON, such as \x1b and \u202e.
"""

import io
import json
import logging
import re
import sys
from typing import Any

UNSAFE = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: newlines, and the beginnings of escape sequences
    r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # separators, bidi, invisible
    r"\ud800-\udfff"  # surrogates stand for bytes of a file's name that are not UTF-8
    r"\U000e0000-\U000e007f"  # invisible tags
)
PATTERN = re.compile(f"[{UNSAFE}]")
PATTERN_IN_JSON = re.compile(f"(?!\n)[{UNSAFE}]")  # a newline stands only between the parts of a JSON text


def escape_text(text: object) -> str:
    """The text as one line that a terminal shows as it is. A backslash of the text itself stays alone."""
    return PATTERN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def escape_lines(text: str) -> str:
    """Like `escape_text`, for a text whose newlines are meant, such as a traceback."""
    return "\n".join(map(escape_text, text.split("\n")))


def dump_json(value: Any, indent: int | None = None) -> str:
    """JSON that is valid UTF-8 and that any terminal takes. Reading it gives the same strings, surrogates too."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return PATTERN_IN_JSON.sub(lambda found: _escape_in_json(found[0]), text)


def _escape_in_json(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else json.dumps(character)[1:-1]


def escape_output() -> None:
    """Escape what stdout's encoding lacks, which would be a UnicodeEncodeError, and the messages that Python logs."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if logging.lastResort:  # writes the warnings of commands that set up no log
        logging.lastResort.setFormatter(EscapingFormatter())


class EscapingFormatter(logging.Formatter):
    """Formats a log record whose message may hold names that a stranger chose."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_lines(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escape_text(record.message)
        return super().formatMessage(record)
