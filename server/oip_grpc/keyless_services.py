"""The standard gRPC services health and reflection, which need no key.

Nobody waits for their clients: a client may be silent, or read nothing. grpc_health's own servicer holds a lock while
it writes, so that one such client would stop the server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from tencrop.server.errors import ApiError
from tencrop.server.oip_grpc.message_reader import MessageReader

HEALTH = "grpc.health.v1.Health"
LOOK_SECONDS = 0.2  # between two looks at the health that somebody watches
MAX_STREAMS = 64  # of both services at once: they may last, and other calls need places, too


class KeylessServices:
    """Health of the service `name`, and of the whole server; and reflection of the services in `pool`."""

    def __init__(
        self, name: str, pool: DescriptorPool, check_ready: Callable[[], None], messages: MessageReader
    ) -> None:
        self._names, self._check_ready, self._messages = ("", name), check_ready, messages
        self._reflection = reflection.aio.ReflectionServicer((name, HEALTH, reflection.SERVICE_NAME), pool)
        self._streams = 0

    def handlers(self) -> tuple[Any, ...]:
        """The handlers of both services, for a gRPC server."""
        health = (HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString)
        shown = (ServerReflectionRequest.FromString, ServerReflectionResponse.SerializeToString)
        check = grpc.stream_unary_rpc_method_handler(self._check, *health)
        watch = grpc.stream_stream_rpc_method_handler(self._watch, *health)
        reflect = grpc.stream_stream_rpc_method_handler(self._reflect, *shown)
        return (
            grpc.method_handlers_generic_handler(HEALTH, {"Check": check, "Watch": watch}),
            grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {"ServerReflectionInfo": reflect}),
        )

    async def _check(self, _: Any, context: Any) -> Any:
        request = await self._messages.read_first(context)
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return HealthCheckResponse(status=self._find_status(request.service))

    async def _watch(self, _: Any, context: Any) -> AsyncIterator[Any]:
        async with self._stream(context):
            request, last = await self._messages.read_first(context), None
            while True:
                if (status := self._find_status(request.service)) != last:
                    yield HealthCheckResponse(status=status)
                last = status
                await asyncio.sleep(LOOK_SECONDS)

    async def _reflect(self, _: Any, context: Any) -> AsyncIterator[Any]:
        async with self._stream(context):
            async for answer in self._reflection.ServerReflectionInfo(self._messages.read_all(context), context):
                yield answer

    def _find_status(self, service: str) -> Any:
        if service not in self._names:
            return HealthCheckResponse.SERVICE_UNKNOWN
        try:
            self._check_ready()
        except ApiError:
            return HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse.SERVING

    @asynccontextmanager
    async def _stream(self, context: Any) -> AsyncIterator[None]:
        """Hold a place until the block ends. Aborts a call that finds none."""
        if self._streams == MAX_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_STREAMS} streams of this service run")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
