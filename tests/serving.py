"""Runs `tencrop serve` as a process on a free port, for tests that need a real server."""

import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

SERVE = [sys.executable, "-m", "tencrop", "serve"]


@contextmanager
def run_server(*options: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a server and yield its process and its address, http://host:port; kill the process at the end.

    `environment`, where given, is all of the environment.
    """
    command = [*SERVE, *options, "--port", "0"]
    with subprocess.Popen(
        command, text=True, env=environment or None, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield process, read_address(process)
        finally:
            process.kill()


def read_address(process: "subprocess.Popen[str]") -> str:
    """The address where a process listens. Reads its stderr until the server has started."""
    started = read_start(process)
    found = re.search(r"listening on (http://\S+)", started)
    assert found, started
    return found[1]


def read_start(process: "subprocess.Popen[str]") -> str:
    """What a process writes to stderr until the server has started."""
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "startup complete" in line:
            break
    return "".join(seen)


def wait_until_closed(host: str, port: int, seconds: float = 10) -> None:
    """Wait until connections to a port are refused. In the instant of closing they are reset instead."""
    due = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == errno.ECONNREFUSED:
                return
        assert time.monotonic() < due, "the port is still open"


class GrpcServer(NamedTuple):
    """A process that serves by HTTP and by gRPC, and host:port of both."""

    process: "subprocess.Popen[str]"
    http: str
    grpc: str


@contextmanager
def run_grpc_server(*options: str, **environment: str) -> Iterator[GrpcServer]:
    """Start a server with both interfaces and yield it; kill the process at the end.

    `environment` comes on top of this process's own.
    """
    command = [*SERVE, *options, "--port", "0", "--grpc-port", "0"]
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env={**os.environ, **environment}, **pipes) as process:
        try:
            started = read_start(process)
            found = dict(re.findall(r"listening on (http|grpc)://(\S+)", started))
            assert set(found) == {"http", "grpc"}, started
            yield GrpcServer(process, found["http"], found["grpc"])
        finally:
            process.kill()
