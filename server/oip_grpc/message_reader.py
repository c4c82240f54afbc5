"""MessageReader: reads the messages of gRPC calls. Each has a deadline, so that a silent client ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError


class MessageReader:
    """Reads a call's messages. Each has to arrive within `seconds`, as a body has; else the call is aborted."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def read(self, context: Any) -> Any:
        """The client's next message; EOF where there is none. Aborts a call whose message is late, or is none."""
        try:
            async with asyncio.timeout(self._seconds):
                return await context.read()
        except TimeoutError:
            why = f"the message took longer than {self._seconds:g} s to arrive"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, why)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a message of this method")

    async def read_first(self, context: Any) -> Any:
        """The message of a method that takes one."""
        request = await self.read(context)
        if request is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no message")
        return request

    async def read_all(self, context: Any) -> AsyncIterator[Any]:
        """Yield all messages."""
        while (request := await self.read(context)) is not grpc.aio.EOF:
            yield request
