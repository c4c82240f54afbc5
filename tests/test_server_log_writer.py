"""Logs whose reader sleeps or has died: requests are answered, lines are dropped and counted, the server ends."""

import io
import logging
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from PIL import Image
from serving import SERVE, read_address, run_grpc_server
from tritonclient.utils import InferenceServerException

from tencrop.server.log_writer import DROPPED, MAX_WAITING, LogWriter, StderrFormatter, write_logs_in_background

LINE = "x" * 999
REQUESTS = 600  # whose lines exceed the 64 KiB of a pipe


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's reading and writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test closed it
            os.close(end)


def emit(writer: LogWriter, text: str = LINE) -> None:
    writer.emit(logging.makeLogRecord({"msg": text}))


def read_all(writer: logging.Handler, descriptor: int) -> None:
    """Let the writer's thread finish, before the descriptor's number belongs to another file."""
    assert isinstance(writer, LogWriter)
    while writer._size:
        os.read(descriptor, 1 << 20)
        writer.flush()


def count_dropped(stream: str) -> float:
    return float(DROPPED.labels(stream)._value.get())


def test_lines_that_nobody_reads_hold_nobody_up_and_are_counted(pipe: tuple[int, int]) -> None:
    writer, lines = LogWriter(pipe[1], "unread"), 10 * MAX_WAITING // len(LINE)
    started = time.monotonic()
    for _ in range(lines):
        emit(writer)
    assert time.monotonic() - started < 5
    assert lines - MAX_WAITING // 1000 - 65 <= count_dropped("unread") < lines
    kept = lines - int(count_dropped("unread"))
    received = b""
    while len(received) < 1000 * kept:
        received += os.read(pipe[0], 1 << 16)
    assert received == (LINE.encode() + b"\n") * kept


def test_a_slow_reader_gets_every_line_in_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], "slow")
    for number in range(500):
        emit(writer, f"{number}{LINE}")
    received = b""
    while received.count(b"\n") < 500:
        received += os.read(pipe[0], 5000)
    assert [int(line.rstrip("x")) for line in received.decode().split()] == list(range(500))
    assert not count_dropped("slow")


def test_a_descriptor_that_does_not_block_gets_every_line(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer, received = LogWriter(pipe[1], "not blocking"), b""
    for _ in range(500):
        emit(writer)
    while received.count(b"\n") < 500:
        received += os.read(pipe[0], 5000)
    assert not count_dropped("not blocking")


def test_a_dead_reader_is_one_line_and_a_count(pipe: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    os.close(pipe[0])
    writer = LogWriter(pipe[1], "dead")
    for _ in range(50):
        emit(writer)
        writer.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "dead cannot be written (Broken pipe); its lines are dropped"
    ]
    assert count_dropped("dead") == 50


def test_flush_waits_for_the_lines_but_not_for_ever(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], "flushed")
    emit(writer)
    writer.flush()
    assert os.read(pipe[0], 1 << 16) == LINE.encode() + b"\n"
    for _ in range(100):
        emit(writer)
    started = time.monotonic()
    writer.flush()
    assert time.monotonic() - started < 5
    read_all(writer, pipe[0])


def test_a_message_is_one_escaped_line_and_a_traceback_keeps_its_lines() -> None:
    formatter = StderrFormatter("%(levelprefix)s %(message)s", use_colors=True)
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError as error:
        record = logging.makeLogRecord(
            {"msg": "folder %s", "args": ("a\nb\x9b",), "levelname": "INFO", "exc_info": (type(error), error, None)}
        )
    text = formatter.format(record)
    assert text.split("\n") == ["INFO:     folder a\\nb\\x9b", "ValueError: \\x1b[2J\\u202e"]


@pytest.mark.slow
@pytest.mark.parametrize("closed", [False, True])
def test_a_server_whose_logs_nobody_reads_answers_and_ends(null_model: Path, closed: bool) -> None:
    command = [*SERVE, str(null_model), "--port", "0"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            address = read_address(process)
            assert process.stdout and process.stderr
            if closed:
                process.stdout.close()
                process.stderr.close()
            for _ in range(REQUESTS):
                with urllib.request.urlopen(f"{address}/healthz?{'x' * 500}", timeout=10) as reply:
                    assert reply.status == 200
            due = time.monotonic() + 10
            while closed and read_dropped(address) < REQUESTS:
                assert time.monotonic() < due
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0 and time.monotonic() - started < 8
        finally:
            process.kill()


@pytest.mark.slow
def test_the_libraries_write_nothing_past_the_log(null_model: Path) -> None:
    """Lines of libtiff and gRPC would fill a pipe that nobody reads, and their threads would wait for ever."""
    packed = io.BytesIO()
    Image.new("L", (64, 64)).save(packed, "TIFF", compression="tiff_lzw")
    damaged = packed.getvalue()[:8] + bytes(20) + packed.getvalue()[28:]
    with run_grpc_server(str(null_model)) as server, triton.InferenceServerClient(server.grpc) as client:
        request = urllib.request.Request(f"http://{server.http}/v1/predict", damaged, {"Content-Type": "image/tiff"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=30)
        with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
            client.infer("null", [triton.InferInput("image", [0], "BYTES")], compression_algorithm="gzip")
        server.process.terminate()
        assert server.process.stderr
        assert [line for line in server.process.stderr if not line.startswith("INFO")] == []


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_that_starts_without_streams_answers_and_ends(null_model: Path, closed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f'exec "$@" {closed}'
    serve = [*SERVE, str(null_model), "--port", str(port)]
    with subprocess.Popen(["sh", "-c", command, "sh", *serve], stderr=subprocess.DEVNULL) as process:
        try:
            due = time.monotonic() + 60
            while not is_ready(port):
                assert time.monotonic() < due and process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def read_dropped(address: str) -> float:
    """The counter of the lines for stdout."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as reply:
        text = reply.read().decode().partition('tencrop_log_lines_dropped_total{stream="stdout"} ')[2]
    return float(text.split()[0])


@pytest.mark.slow
def test_warnings_on_a_stderr_that_nobody_reads_hold_nobody_up(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the server's log, of other logs, and of Python."""
    root, handlers = logging.getLogger(), list(logging.getLogger().handlers)
    with os.fdopen(os.dup(pipe[1]), "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        write_logs_in_background()
        added = [handler for handler in root.handlers if handler not in handlers]
        try:
            before, started = count_dropped("stderr"), time.monotonic()
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                logging.captureWarnings(True)
                for _ in range(1000):
                    logging.getLogger("uvicorn.error").error(LINE)
                    logging.getLogger("asyncio").error(LINE)
                    warnings.warn(LINE, stacklevel=1)
            assert time.monotonic() - started < 10 and count_dropped("stderr") > before
        finally:
            logging.captureWarnings(False)
            for handler in added:
                root.removeHandler(handler)
                read_all(handler, pipe[0])


@pytest.mark.slow
def test_a_dead_reader_leaves_one_line_on_stderr(null_model: Path, tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    with said.open("w") as stderr, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        command = [*SERVE, str(null_model), "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process:
            try:
                wait_for_text(said, "startup complete")
                assert process.stdout
                process.stdout.close()
                for _ in range(20):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).close()
                wait_for_text(said, "stdout cannot be written (Broken pipe); its lines are dropped")
                time.sleep(0.2)
                assert said.read_text().count("stdout") == 1 and "Traceback" not in said.read_text()
            finally:
                process.kill()


def wait_for_text(file: Path, text: str) -> None:
    due = time.monotonic() + 30
    while text not in file.read_text():
        assert time.monotonic() < due, file.read_text()
        time.sleep(0.05)
