"""The Open Inference Protocol by gRPC. Each call becomes the HTTP request that asks the same, in this process.

So both have the same queue, limits, keys, deadlines, drain, log and metrics.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import grpc
from fastapi import FastAPI

from tencrop.common.errors import WorkFailed
from tencrop.server.connection import HEAD_SECONDS
from tencrop.server.errors import ApiError, bad_request_error
from tencrop.server.oip.codec import HEADER_LENGTH
from tencrop.server.oip.served_model import VERSION
from tencrop.server.oip_grpc.http_call import HttpCaller, Reply
from tencrop.server.oip_grpc.keyless_services import KeylessServices
from tencrop.server.oip_grpc.lasting_server import LastingServer
from tencrop.server.oip_grpc.message_reader import MessageReader
from tencrop.server.oip_grpc.messages import INFER, METHODS, POOL, SERVICE, STREAM, Method, message_class
from tencrop.server.oip_grpc.translation import (
    read_error,
    translate_answer,
    translate_infer,
    translate_json,
    translate_request,
    translate_status,
)
from tencrop.server.settings import Settings

ENVELOPE = 64 << 10  # bytes of a message beside its images
MAX_CALLS = 256  # at once; a message counts among the bodies once it is complete
CONNECTIONS = 4  # at least that share the calls
IDLE_SECONDS = 60.0  # until a connection is closed whose calls are all answered, be the answers read or not
PING_SECONDS = 20.0  # between two pings, and until one has to be answered: a client that is gone or frozen ends


class GrpcService:
    """A gRPC server in front of an application. `tasks` are the requests that the HTTP server waits for at its end."""

    def __init__(self, app: FastAPI, settings: Settings, tasks: set[asyncio.Task[Any]]) -> None:
        self._settings, self._http = settings, HttpCaller(app, tasks)
        self._messages = MessageReader(settings.body_seconds)
        limit = settings.max_body_bytes + ENVELOPE
        options = (
            ("grpc.so_reuseport", 0),  # a port that another server has is an error
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_concurrent_streams", MAX_CALLS // CONNECTIONS),
            ("grpc.http.overload_protection", 0),  # it refuses calls of a client that keeps to the limit
            ("grpc.max_connection_idle_ms", round(IDLE_SECONDS * 1e3)),
            ("grpc.keepalive_time_ms", round(PING_SECONDS * 1e3)),
            ("grpc.http2.ping_timeout_ms", round(PING_SECONDS * 1e3)),
            ("grpc.server_handshake_timeout_ms", round(HEAD_SECONDS * 1e3)),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message could become a large one
        )
        handlers = {name: self._unary(f"{name}Request", self._ask(name, method)) for name, method in METHODS.items()}
        handlers[INFER] = self._unary(f"{INFER}Request", self._infer)
        handlers[STREAM] = grpc.stream_stream_rpc_method_handler(
            self._stream, message_class(f"{INFER}Request").FromString, _serialize
        )
        keyless = KeylessServices(SERVICE, POOL, lambda: app.state.server_state.check_ready(), self._messages)
        all_handlers = (grpc.method_handlers_generic_handler(SERVICE, handlers), *keyless.handlers())
        self._open_server = lambda: grpc.aio.server(
            handlers=all_handlers, options=options, maximum_concurrent_rpcs=MAX_CALLS
        )

    def bind(self) -> str:
        """Bind the port and return its address. Raises WorkFailed."""
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]" if ":" in host else host
        try:
            self._server = LastingServer(self._open_server, f"{address}:{port}", self._settings.drain_seconds)
        except RuntimeError:
            raise WorkFailed(f"cannot listen on {address}:{port}", "choose another --grpc-port") from None
        return self._server.address

    async def start(self) -> None:
        """Answer calls from now on."""
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """End: calls that run have so many seconds."""
        await self._server.stop(seconds)

    def _unary(self, kind: str, answer: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        """A method of one request, which is read here."""

        async def read_and_answer(_: Any, context: Any) -> Any:
            request = await self._messages.read_first(context)
            try:
                return await answer(request, context)
            except ApiError as error:
                await context.abort(translate_status(error.status_code), str(error))

        return grpc.stream_unary_rpc_method_handler(read_and_answer, message_class(kind).FromString, _serialize)

    def _ask(self, name: str, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        """The answer of a method without tensors."""
        kind = message_class(f"{name}Response")

        async def answer(request: Any, context: Any) -> Any:
            path, fields = method.path, request.DESCRIPTOR.fields_by_name
            if name == "ModelStatistics" and not request.name:
                path = "/v2/models/stats"
            elif "version" in fields:
                path = _model_path(request.name, request.version) + path
            elif "model_name" in fields:
                path = path.format(_escape(request.model_name))
            reply = await self._http.call(method.http, path, translate_request(request), context)
            if reply.status in method.unready:
                return kind(ready=False)
            _raise_unless_ok(reply)
            return translate_json(reply.body, method.wrap, kind)

        return answer

    async def _infer(self, request: Any, context: Any) -> Any:
        body, length = translate_infer(request)
        path = _model_path(request.model_name, request.model_version) + "/infer"
        reply = await self._http.call("POST", path, body, context, {HEADER_LENGTH: str(length)})
        _raise_unless_ok(reply)
        return translate_answer(reply.body, int(reply.headers[HEADER_LENGTH.encode()]))

    async def _stream(self, _: Any, context: Any) -> AsyncIterator[Any]:
        """Answer one request after the other. An error stands in the place of an answer, and the stream goes on."""
        kind = message_class(f"{STREAM}Response")
        async for request in self._messages.read_all(context):
            try:
                yield kind(infer_response=await self._infer(request, context))
            except ApiError as error:
                if error.status_code == HTTPStatus.UNAUTHORIZED:
                    await context.abort(translate_status(error.status_code), str(error))
                yield kind(error_message=str(error), infer_response={"id": request.id})


def _model_path(name: str, version: str) -> str:
    """The path of a model's version. Raises ApiError 400 where the name is empty."""
    return f"/v2/models/{_escape(name)}/versions/{_escape(version or VERSION)}"


def _escape(name: str) -> str:
    """A name as a part of a path. A slash in it, which no model has, would make another path. Raises ApiError 400."""
    if not name:
        raise bad_request_error("the request names no model")
    return name.replace("/", "%2F")


def _raise_unless_ok(reply: Reply) -> None:
    """Raise an error answer as the ApiError that it was."""
    if reply.status != HTTPStatus.OK:
        raise ApiError(HTTPStatus(reply.status), "", read_error(reply.body))


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
