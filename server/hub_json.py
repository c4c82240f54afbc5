"""HubJson: the JSON of the hub's task image-classification, taken apart while it arrives.

The string `inputs` is decoded from base64 piece by piece. Only the small rest is parsed, so a large image never
becomes a Python string.
"""

import re
from collections.abc import AsyncIterator

from tencrop.server.base64_decoder import Base64Decoder, decode_base64
from tencrop.server.errors import ApiError, bad_parameter_error, body_too_large_error
from tencrop.server.json_body import MAX_SMALL_JSON, parse_json
from tencrop.server.schemas import HubParameters, HubRequest

INPUTS = re.compile(rb'"inputs"\s*:\s*"')
TAKEN = "*"  # stands in the rest for the string that was decoded; no base64 has this character
LINE, WRITTEN_LINE = 57, 80  # bytes of an image in a line of base64, and of the line with its escaped CRLF


def base64_json_bytes(image_bytes: int) -> int:
    """The limit, in bytes, on a JSON body that holds an image in base64, line breaks included."""
    return image_bytes * WRITTEN_LINE // LINE + MAX_SMALL_JSON


class HubJson:
    """Takes a body in pieces of any size. Raises ApiError 413 where the image or the rest is too large, 422."""

    def __init__(self, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._rest, self._image = bytearray(), bytearray()
        self._decoder = Base64Decoder()
        self._is_inside = self._is_over = False  # of the string `inputs`

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self._is_inside:
            piece = self._feed_text(piece)
        self._rest += piece
        if not self._is_over and not self._is_inside and (found := INPUTS.search(self._rest)):
            text = bytes(self._rest[found.end() :])
            del self._rest[found.end() :]
            self._is_inside = True
            self._rest += self._feed_text(text)
        if len(self._rest) > MAX_SMALL_JSON:
            raise body_too_large_error(f"the JSON beside the string `inputs` exceeds {MAX_SMALL_JSON} bytes")

    def finish(self) -> tuple[bytes, HubParameters]:
        """The encoded image and the parameters, once the body is complete."""
        asked = parse_json(HubRequest, bytes(self._rest))
        if asked.inputs == TAKEN and self._is_over:
            return bytes(self._image), asked.parameters
        try:
            return decode_base64(asked.inputs.encode()), asked.parameters
        except ValueError:
            raise _not_base64() from None

    def _feed_text(self, piece: bytes) -> bytes:
        """Decode a piece of the string `inputs` -> what follows the string."""
        text, quote, rest = piece.partition(b'"')
        try:
            self._image += self._decoder.feed(text)
            if quote:
                self._image += self._decoder.finish()
        except ValueError:
            raise _not_base64() from None
        if len(self._image) > self._max_image_bytes:
            raise body_too_large_error(f"the image exceeds {self._max_image_bytes} bytes")
        self._is_inside, self._is_over = not quote, bool(quote)
        return TAKEN.encode() + quote + rest if quote else b""


async def read_hub_json(pieces: AsyncIterator[bytes], max_image_bytes: int) -> tuple[bytes, HubParameters]:
    """Read a body -> the encoded image and the parameters. Raises ApiError."""
    body = HubJson(max_image_bytes)
    async for piece in pieces:
        body.feed(piece)
    return body.finish()


def _not_base64() -> ApiError:
    return bad_parameter_error("inputs: expected an image in base64")
