"""The Open Inference Protocol by gRPC, with tritonclient, sync and aio: the answers, errors and limits of HTTP."""

import asyncio
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from fastapi import FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pydantic_core import to_json
from serving import GrpcServer, run_grpc_server, wait_until_closed
from support.command_line import call
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import hash_key
from tencrop.server.oip_grpc.keyless_services import MAX_STREAMS
from tencrop.server.oip_grpc.messages import MESSAGES, SERVICE, message_class
from tencrop.server.oip_grpc.service import MAX_CALLS, GrpcService
from tencrop.server.oip_grpc.translation import STATUS, read_error
from tencrop.server.settings import Settings

NAME = "null"
SQUARE = (1, 256, 256, 3)
slow = pytest.mark.slow  # a process of a server


@pytest.fixture(scope="module")
def server(null_model: Path) -> Iterator[GrpcServer]:
    with run_grpc_server(str(null_model)) as server:
        yield server


@pytest.fixture
def client(server: GrpcServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def files(photographs: dict[str, Path]) -> list[bytes]:
    return [path.read_bytes() for path in photographs.values()]


def encoded(files: list[bytes], library: Any = triton) -> Any:
    return library.InferInput("image", [len(files)], "BYTES").set_data_from_numpy(np.array(files, dtype=np.object_))


def squares(library: Any = triton) -> Any:
    return library.InferInput("images", SQUARE, "UINT8").set_data_from_numpy(np.full(SQUARE, 7, np.uint8))


def ask_http(server: GrpcServer, files: list[bytes]) -> np.ndarray:
    with triton_http.InferenceServerClient(server.http) as client:
        answer: np.ndarray = client.infer(NAME, [encoded(files, triton_http)]).as_numpy("probabilities")
    return answer


def both_clients(server: GrpcServer, files: list[bytes], status: HTTPStatus) -> Iterator[tuple[Any, Any, str]]:
    """Yield by HTTP and by gRPC: a client, the images as it sends them, and the status as it tells it."""
    yield triton_http.InferenceServerClient(server.http), encoded(files, triton_http), str(status.value)
    yield triton.InferenceServerClient(server.grpc), encoded(files), str(STATUS[status])


# ---- the messages


@pytest.mark.parametrize("name", MESSAGES)
def test_names_numbers_and_types_are_those_of_the_protocol(name: str) -> None:
    theirs = service_pb2.ModelInferRequest.DESCRIPTOR.file.pool.FindMessageTypeByName(f"inference.{name}")
    known = {field.number: (field.name, field.type, field.is_repeated) for field in theirs.fields}
    ours = {
        field.number: (field.name, field.type, field.is_repeated) for field in message_class(name).DESCRIPTOR.fields
    }
    assert ours.items() <= known.items()


# ---- answers


@slow
def test_server_and_models_describe_themselves(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert [client.is_model_ready(*model) for model in ((NAME,), (NAME, "1"), ("other",), (NAME, "2"))] == [
        True,
        True,
        False,
        False,
    ]
    assert client.get_server_metadata().name == "tencrop"
    model = client.get_model_metadata(f"{NAME}-pixels")
    assert (model.inputs[0].name, list(model.inputs[0].shape)) == ("images", [-1, *SQUARE[1:]])
    pixels = client.get_model_config(f"{NAME}-pixels").config
    assert (len(model.outputs), pixels.max_batch_size) == (1, 64)
    assert (pixels.input[0].format, list(pixels.input[0].dims)) == (pixels.input[0].FORMAT_NHWC, [*SQUARE[1:]])
    config = client.get_model_config(NAME, as_json=True)["config"]
    assert (config["input"][0]["data_type"], config["output"][0]["dims"]) == ("TYPE_STRING", ["-1", "50"])
    assert [model.name for model in client.get_model_repository_index().models] == [NAME, f"{NAME}-pixels"]


@slow
def test_answers_are_those_of_http(
    server: GrpcServer, client: triton.InferenceServerClient, files: list[bytes]
) -> None:
    before = client.get_inference_statistics(NAME).model_stats[0].inference_count
    result = client.infer(NAME, [encoded(files)], request_id="seven")
    np.testing.assert_array_equal(result.as_numpy("probabilities"), ask_http(server, files))
    assert result.get_response().id == "seven"
    assert result.get_response().parameters["engine"].string_param
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    assert client.infer(NAME, [encoded(files)], outputs=outputs).as_numpy("probabilities").shape == (2, 2)
    outputs = [triton.InferRequestedOutput(name) for name in ("view_probabilities", "probabilities")]
    both = client.infer(NAME, [encoded(files)], outputs=outputs)
    np.testing.assert_array_equal(both.as_numpy("probabilities"), result.as_numpy("probabilities"))
    assert both.as_numpy("view_probabilities").shape == (2, 10, 50)
    assert client.infer(f"{NAME}-pixels", [squares()]).as_numpy("probabilities").shape == (1, 50)
    after = client.get_inference_statistics().model_stats[0]
    assert after.inference_count == before + 8
    assert after.inference_stats.success.ns and after.last_inference and after.batch_stats[0].compute_infer.ns


@slow
def test_contents_are_read_as_raw_contents_are(server: GrpcServer, files: list[bytes]) -> None:
    request = service_pb2.ModelInferRequest(model_name=NAME)
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(files[0])
    with grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            service_pb2.ModelInferRequest.SerializeToString,
            service_pb2.ModelInferResponse.FromString,
        )
        raw = infer(request).raw_output_contents[0]
        np.testing.assert_array_equal(np.frombuffer(raw, np.float32)[None], ask_http(server, files[:1]))
        request.inputs[0].CopyFrom(request.inputs[0].__class__(name="images", datatype="UINT8", shape=SQUARE))
        request.inputs[0].contents.uint_contents.append(256)
        with pytest.raises(grpc.RpcError, match="whole numbers from 0 to 255"):
            infer(request)


@slow
def test_aio(server: GrpcServer, files: list[bytes]) -> None:
    async def ask() -> list[np.ndarray]:
        async with triton_aio.InferenceServerClient(server.grpc) as client:
            results = await asyncio.gather(*(client.infer(NAME, [encoded([data])]) for data in files))
            return [result.as_numpy("probabilities")[0] for result in results]

    np.testing.assert_array_equal(np.stack(asyncio.run(ask())), ask_http(server, files))


@slow
def test_a_stream_goes_on_after_an_error(client: triton.InferenceServerClient, files: list[bytes]) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    for images in ([files[0]], [b"nothing"], files):
        client.async_stream_infer(NAME, [encoded(images)])
    first, error, last = (answers.get(timeout=20) for _ in range(3))
    client.stop_stream()
    assert [each.as_numpy("probabilities").shape for each in (first, last)] == [(1, 50), (2, 50)]
    assert "not an image of a known format" in str(error)


def test_a_request_without_a_models_name_is_one_line(open_service: str) -> None:
    with grpc.insecure_channel(open_service) as channel:
        for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "RepositoryModelLoad"):
            with pytest.raises(grpc.RpcError, match="the request names no model") as refused:
                channel.unary_unary(f"/{SERVICE}/{method}", bytes, bytes)(b"", timeout=20)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        kinds = (service_pb2.ModelInferRequest.SerializeToString, service_pb2.ModelStreamInferResponse.FromString)
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", *kinds)
        asked = [service_pb2.ModelInferRequest(id=name) for name in ("seven", "eight")]
        answers = list(stream(iter(asked), timeout=20))
    assert [each.error_message for each in answers] == ["the request names no model"] * 2
    assert [each.infer_response.id for each in answers] == ["seven", "eight"], "Triton's way to tell which one failed"


def test_a_long_error_fits_into_what_a_client_takes() -> None:
    text = read_error(to_json({"error": "\U0001f600" * 9000}))
    assert text.endswith("\U0001f600...") and len(quote(text)) < 8192


@slow
def test_health_reflection_and_metrics(server: GrpcServer, client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    with grpc.insecure_channel(server.grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        status = {check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", SERVICE)}
        assert status == {health_pb2.HealthCheckResponse.SERVING}
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        described = {name: database.FindFileContainingSymbol(name).service[0] for name in database.get_services()}
        assert "ModelInfer" in [method.name for method in described[SERVICE].method]
    metrics = httpx2.get(f"http://{server.http}/metrics").text
    assert 'tencrop_requests_total{code="200",method="GET",route="/v2/health/live"}' in metrics


@slow
def test_a_call_returns_its_trace_and_its_id(server: GrpcServer) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    given = (("traceparent", parent), ("tracestate", "foo=1"), ("x-request-id", "seven"))
    with grpc.insecure_channel(server.grpc) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelMetadata", bytes, bytes)
        for name in (NAME, "other"):
            call = ask.future(service_pb2.ModelMetadataRequest(name=name).SerializeToString(), metadata=given)
            assert set(given) <= {tuple(each) for each in call.trailing_metadata()}
            assert (call.code() is grpc.StatusCode.OK) == (name == NAME)


@slow
def test_ipv6(null_model: Path, files: list[bytes]) -> None:
    with run_grpc_server(str(null_model), "--host", "::1") as server:
        assert server.grpc.startswith("[::1]:")
        with triton.InferenceServerClient(server.grpc) as client:
            assert client.infer(NAME, [encoded(files)]).as_numpy("probabilities").shape == (2, 50)


@slow
def test_a_message_has_a_deadline_as_a_body_has(null_model: Path, files: list[bytes]) -> None:
    request = service_pb2.ModelInferRequest(model_name=NAME)
    request.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(files[0])
    with (
        run_grpc_server(str(null_model), TENCROP_BODY_SECONDS="0.5") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        kinds = (service_pb2.ModelInferRequest.SerializeToString, service_pb2.ModelStreamInferResponse.FromString)
        for messages in ([], [request, request]):
            waiting: queue.Queue[Any] = queue.Queue()  # ends never: the client is silent after its messages
            for message in messages:
                waiting.put(message)
            stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", *kinds)(iter(waiting.get, None), timeout=20)
            answered = []
            with pytest.raises(grpc.RpcError, match=r"took longer than 0\.5 s to arrive") as late:
                answered.extend(stream)  # keeps what came before the error
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert [len(each.infer_response.outputs) for each in answered] == [1] * len(messages)
            waiting.put(None)
        silent = channel.stream_unary(f"/{SERVICE}/ModelInfer", kinds[0], service_pb2.ModelInferResponse.FromString)
        waiting = queue.Queue()
        with pytest.raises(grpc.RpcError, match="took longer than"):
            silent(iter(waiting.get, None), timeout=20)
        waiting.put(None)
        with socket.create_connection(server.http.split(":"), timeout=20) as http:  # type: ignore[arg-type]
            http.sendall(
                f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode()
            )
            answer = http.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 504") and b"took longer than 0.5 s to arrive" in answer


HEAD = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "localhost",
    "content-type": "application/grpc",
    "te": "trailers",
}
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, DATA = 4, 1, 0  # HTTP/2's frames


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def ask_without_reading(address: str, path: str) -> socket.socket:
    """A client that lets the server send not one byte of an answer. `path` is in latin-1."""
    head = {**HEAD, ":path": path}
    words = [text.encode("latin-1") for pair in sorted(head.items()) for text in pair]
    coded = [bytes([len(word)]) + word for word in words]
    coded_head = b"".join(b"\0" + name + value for name, value in zip(coded[::2], coded[1::2], strict=True))
    no_room = frame(SETTINGS, 0, 0, b"\0\4" + bytes(4))  # the window of a stream
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(PREFACE + no_room + frame(HEADERS, 4, 1, coded_head) + frame(DATA, 1, 1, bytes(5)))
    return connection


@slow
def test_a_watcher_that_reads_nothing_keeps_nobody_waiting(null_model: Path) -> None:
    with run_grpc_server(str(null_model)) as server, ask_without_reading(server.grpc, WATCH) as silent:
        assert silent.recv(1)  # the server's settings
        with triton.InferenceServerClient(server.grpc) as client, grpc.insecure_channel(server.grpc) as channel:
            assert client.is_server_ready()
            assert next(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())).status == 1
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


class ReadyState:
    """A state that is ready."""

    def check_ready(self) -> None:
        """Find nothing wrong."""


@pytest.fixture
def open_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service without models, in a thread: its address."""
    monkeypatch.setattr("tencrop.server.oip_grpc.service.IDLE_SECONDS", 0.2)
    app, address, ended = FastAPI(), queue.Queue[str](), threading.Event()
    app.state.server_state = ReadyState()

    async def serve() -> None:
        service = GrpcService(app, Settings(grpc_port=0), set())
        address.put(service.bind())
        await service.start()
        await asyncio.to_thread(ended.wait)
        await service.stop(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield address.get(timeout=20)
    ended.set()
    thread.join()


def test_clients_that_mean_no_good_leave_room_for_others(open_service: str, caplog: pytest.LogCaptureFixture) -> None:
    """Idle connections, calls without a message, bytes that are no message, and streams that never end."""
    host, port = open_service.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as idle:
        idle.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        while idle.recv(1000):  # b"": the server has closed it
            pass
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(open_service) as first, grpc.insecure_channel(open_service, own_connection) as channel:
        for method in (f"/{SERVICE}/ModelInfer", CHECK):
            with pytest.raises(grpc.RpcError) as garbage:
                channel.unary_unary(method, bytes, bytes)(b"\xff" * 4, timeout=20)
            assert garbage.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        watch = health_pb2_grpc.HealthStub(first).Watch
        watching = [watch(health_pb2.HealthCheckRequest()) for _ in range(MAX_STREAMS)]
        assert [next(each).status for each in watching] == [1] * MAX_STREAMS
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError, match="64 streams of this service run"):
            next(stub.Watch(health_pb2.HealthCheckRequest()))
        with pytest.raises(grpc.RpcError, match="64 streams of this service run"):
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == 1
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert not caplog.records


def test_a_method_that_is_not_utf_8_ends_neither_the_service_nor_other_calls(open_service: str) -> None:
    with grpc.insecure_channel(open_service) as channel, ExitStack() as clients:
        stub = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == 1
        for _ in range(2):
            odd = clients.enter_context(ask_without_reading(open_service, "/\xff"))
            while odd.recv(1000):  # b"": the server that met it is gone
                pass
            assert watching.is_active()
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True).status == 1


def test_a_connection_keeps_calls_that_find_no_room_waiting(open_service: str) -> None:
    with grpc.insecure_channel(open_service) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for _ in range(2):  # the second time the client knows how many calls may run
            calls = [check.future(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(MAX_CALLS)]
            assert {call.code() for call in calls} == {grpc.StatusCode.OK}


@pytest.fixture
def four_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has four calls at once, one on a connection, and its clients answer a ping within a second."""
    monkeypatch.setattr("tencrop.server.oip_grpc.service.MAX_CALLS", 4)
    monkeypatch.setattr("tencrop.server.oip_grpc.service.PING_SECONDS", 1.0)


WATCHERS = """
import sys, time, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
channels = [grpc.insecure_channel(sys.argv[1], [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
watching = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for channel in channels]
print([next(each).status for each in watching], flush=True)
time.sleep(60)
"""


def wait_for_room(channel: grpc.Channel) -> None:
    """Ask until a call is refused for want of room, then until one is answered."""
    check, until = health_pb2_grpc.HealthStub(channel).Check, time.monotonic() + 20
    for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK):
        while check.future(health_pb2.HealthCheckRequest(), timeout=20).code() is not code:
            assert time.monotonic() < until


@pytest.mark.usefixtures("four_calls")
def test_answers_that_nobody_reads_hold_their_places_until_the_connection_is_idle(open_service: str) -> None:
    with ExitStack() as silent, grpc.insecure_channel(open_service) as channel:
        for _ in range(8):
            silent.enter_context(ask_without_reading(open_service, CHECK))
        wait_for_room(channel)


@pytest.mark.usefixtures("four_calls")
def test_a_frozen_client_holds_its_places_until_it_answers_no_ping(open_service: str) -> None:
    command = [sys.executable, "-c", WATCHERS, open_service]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as frozen,
        grpc.insecure_channel(open_service) as channel,
    ):
        try:
            assert frozen.stdout and frozen.stdout.readline() == b"[1, 1, 1, 1]\n"
            frozen.send_signal(signal.SIGSTOP)
            wait_for_room(channel)
        finally:
            frozen.kill()


@pytest.mark.usefixtures("four_calls")
def test_one_connection_has_a_part_of_the_calls(open_service: str) -> None:
    with grpc.insecure_channel(open_service) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        watching = watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == 1
        with pytest.raises(grpc.RpcError, match="Deadline"):
            next(watch(health_pb2.HealthCheckRequest(), timeout=0.3))


# ---- what is refused


def test_a_full_queue_is_resource_exhausted_as_it_is_429(classifier: Classifier, files: list[bytes]) -> None:
    settings = Settings(grpc_port=0)
    app = create_app([classifier], settings)

    async def ask() -> InferenceServerException:
        async with app.router.lifespan_context(app):
            service = GrpcService(app, settings, set())
            address = service.bind()
            await service.start()
            admission = app.state.server_state.pipelines[classifier.name].admission
            try:
                async with triton_aio.InferenceServerClient(address) as client:
                    with admission.admit("one", admission.capacity), pytest.raises(InferenceServerException) as full:
                        await client.infer(classifier.name, [encoded(files * (admission.capacity // 2))])
            finally:
                await service.stop(0)
        return full.value

    full = asyncio.run(ask())
    assert full.status() == str(STATUS[HTTPStatus.TOO_MANY_REQUESTS])
    assert full.message() == "too many images are waiting; try again"


LIMITS = {  # the setting, the status of both interfaces, and the words of both
    "too large": ({"TENCROP_MAX_BODY_BYTES": "300000"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "exceeds 300000 bytes"),
    "too many images": ({"TENCROP_QUEUE_VIEWS": "10"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "2 images; at most 1"),
    "full": ({"TENCROP_MAX_BODIES_BYTES": "1000"}, HTTPStatus.TOO_MANY_REQUESTS, "too many bytes are waiting"),
    "late": ({"TENCROP_DEADLINE_SECONDS": "0.0001"}, HTTPStatus.GATEWAY_TIMEOUT, "no answer within"),
}


@slow
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_are_those_of_http(null_model: Path, files: list[bytes], limit: str) -> None:
    environment, status, words = LIMITS[limit]
    with run_grpc_server(str(null_model), **environment) as server:
        for client, image, told in both_clients(server, files, status):
            with client, pytest.raises(InferenceServerException) as refused:
                client.infer(NAME, [image])
            assert refused.value.status() == told and words in refused.value.message()


@slow
def test_without_a_key_nothing_but_health_is_answered(null_model: Path, tmp_path: Path, files: list[bytes]) -> None:
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    (tmp_path / "keys").chmod(0o600)
    with run_grpc_server(str(null_model), "--api-key-file", str(tmp_path / "keys")) as server:
        for client, image, status in both_clients(server, files, HTTPStatus.UNAUTHORIZED):
            with client:
                assert client.is_server_ready()
                for headers in ({}, {"authorization": "Bearer wrong"}):
                    with pytest.raises(InferenceServerException) as refused:
                        client.infer(NAME, [image], headers=headers)
                    assert refused.value.status() == status
                assert client.infer(NAME, [image], headers={"authorization": "Bearer secret"})


@slow
def test_a_draining_server_answers_unavailable_and_ends(null_model: Path, files: list[bytes]) -> None:
    with (
        run_grpc_server(str(null_model), TENCROP_DRAIN_SECONDS="20") as server,
        triton.InferenceServerClient(server.grpc) as client,
        socket.create_connection(server.http.split(":")) as held,  # type: ignore[arg-type]
    ):
        held.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        assert client.infer(NAME, [encoded(files)])
        server.process.send_signal(signal.SIGTERM)
        while client.is_server_ready():
            pass
        with pytest.raises(InferenceServerException, match="shutting down") as refused:
            client.infer(NAME, [encoded(files)])
        assert refused.value.status() == str(STATUS[HTTPStatus.SERVICE_UNAVAILABLE])
        host, port = server.http.split(":")
        wait_until_closed(host, int(port))
        by_http = pytest.raises(ConnectionRefusedError, match="refused")
        with triton_http.InferenceServerClient(server.http) as late, by_http:
            late.infer(NAME, [encoded(files, triton_http)])
        held.close()
        assert server.process.wait(30) == 0


@slow
def test_a_port_that_is_taken_is_one_line(null_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tencrop", "serve", str(null_model), "--port", "0", "--grpc-port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    *started, last = ended.stderr.splitlines()
    assert ended.returncode == 1 and all(line.startswith("INFO") for line in started)
    assert last == f"tencrop: cannot listen on 127.0.0.1:{port}; choose another --grpc-port"


def test_workers_beside_grpc_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "serve", "--grpc-port", "0", "--workers", "2") == 2
    assert "--grpc-port with --workers 2: gRPC needs one process; give --workers 0" in capsys.readouterr().err


def test_without_the_extra_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tencrop.common.extras.find_spec", lambda name: None)
    assert call(monkeypatch, "serve", "--grpc-port", "0") == 1
    assert "not installed: grpc, grpc_health, grpc_reflection; pip install" in capsys.readouterr().err


@slow
def test_models_are_loaded_and_unloaded(null_model: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    (tmp_path / "keys").chmod(0o600)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "b.onnx").write_bytes(null_model.read_bytes())
    key = {"headers": {"authorization": "Bearer secret"}}
    options = ("--model-repository", str(tmp_path / "models"), "--api-key-file", str(tmp_path / "keys"))

    def list_states(client: triton.InferenceServerClient) -> dict[str, str]:
        return {model.name: model.state for model in client.get_model_repository_index(**key).models}

    with run_grpc_server(str(null_model), *options) as server, triton.InferenceServerClient(server.grpc) as client:
        assert set(list_states(client)) == {NAME, f"{NAME}-pixels", "b", "b-pixels"}
        client.unload_model("b", **key)
        assert list_states(client)["b"] == "UNAVAILABLE"
        client.load_model("b", **key)
        assert list_states(client)["b"] == "READY" and client.is_model_ready("b", **key)
        for name, more, words in (
            ("b", {"config": "{}"}, "StatusCode.INVALID_ARGUMENT.*parameter 'config': not taken"),
            ("none", {}, "StatusCode.NOT_FOUND.*no file of a model 'none'"),
            ("../b", {}, "StatusCode.NOT_FOUND.*no file of a model"),
            (NAME, {}, "StatusCode.FAILED_PRECONDITION.*the server was started with it"),
        ):
            with pytest.raises(InferenceServerException, match=words):
                client.load_model(name, **key, **more)
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            client.load_model("b")
