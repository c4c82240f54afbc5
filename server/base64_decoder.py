"""Base64Decoder: decodes the forms of base64 that clients send, while they arrive.

Both alphabets, line breaks, missing padding, data URLs ("data:image/png;base64,...") and the escapes of JSON strings.
"""

import json
from binascii import Error, a2b_base64

ALPHABETS = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n"
MAX_PREFIX = 1024  # bytes of a data URL before its data
PIECE = 64 << 10  # bytes of a string that are decoded at once
ESCAPE = 6  # bytes of the longest escape in a JSON string


class Base64Decoder:
    """Takes the bytes of a JSON string of base64, without its quotes, in pieces of any size.

    `feed` and `finish` return decoded bytes, and raise ValueError for a text that is not base64.
    """

    def __init__(self) -> None:
        self._text = b""  # not decoded yet
        self._is_begun = False  # the prefix of a data URL, where there is one, is over
        self._is_padded = False  # no character may follow

    def feed(self, piece: bytes) -> bytes:
        """Decode all whole groups of four characters."""
        text = self._text + piece
        escape = text.rfind(b"\\", -ESCAPE)
        cut = len(text) if escape < 0 else escape
        return self._decode(text[:cut], text[cut:])

    def finish(self) -> bytes:
        """Decode the rest, which may lack its padding."""
        return self._decode(self._text, b"", is_end=True)

    def _decode(self, text: bytes, later: bytes, is_end: bool = False) -> bytes:
        """Decode `text`, except for an incomplete group; keep the rest and `later` for the next piece."""
        if b"\\" in text:
            text = json.loads(b'"%s"' % text, strict=False).encode("ascii")
        if not self._is_begun:
            if text[:5].lower() in (b"data:"[: len(text)], b"data:") and b"," not in text and not is_end:
                if len(text) > MAX_PREFIX:
                    raise ValueError("a data URL without data")
                self._text = text + later
                return b""
            text, self._is_begun = _strip_prefix(text), True
        text = text.translate(ALPHABETS, WHITESPACE)
        if is_end:
            text += b"=" * (-len(text) % 4)
        whole = len(text) // 4 * 4
        self._text = text[whole:] + later
        return self._decode_groups(text[:whole])

    def _decode_groups(self, text: bytes) -> bytes:
        if not text:
            return b""
        if self._is_padded or text.endswith(b"==="):
            raise ValueError("characters follow the padding")
        self._is_padded = text.endswith(b"=")
        try:
            return a2b_base64(text, strict_mode=True)
        except Error as error:
            raise ValueError(str(error)) from None


def _strip_prefix(text: bytes) -> bytes:
    """The text without the prefix of a data URL. Raises ValueError for a data URL that is not in base64."""
    if text[:5].lower() != b"data:":
        return text
    prefix, comma, data = text.partition(b",")
    if not comma or not prefix.lower().endswith(b";base64"):
        raise ValueError("a data URL that is not base64")
    return data


def decode_base64(text: bytes) -> bytes:
    """Decode a whole string, piece by piece, so that other threads run meanwhile. Raises ValueError."""
    decoder = Base64Decoder()
    pieces = [decoder.feed(text[at : at + PIECE]) for at in range(0, len(text), PIECE)]
    return b"".join(pieces) + decoder.finish()
