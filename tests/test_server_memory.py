"""The worst JSON from 16 connections takes no more memory than docs/operations.md says, and never stops the server."""

import base64
import http.client
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import run_server

CONNECTIONS, SECONDS = 16, 2.0
MIB = 1 << 20
OPERATIONS = Path(__file__).parent.parent / "docs" / "operations.md"
HUB, VALIDATIONS = "/v1/image-classification", "/v1/validations"
V2 = "/v2/models/caltech101/infer"
PIXELS = "/v2/models/caltech101-pixels/infer"
TENSOR = b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ['
SQUARE = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 256, 256, 3], "data": ['


def fill(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end


CASES = {
    "lists for the hub": (HUB, fill(b"[", b"[],", b"[]]", 32 * MIB)),
    "the largest image in base64": (HUB, b'{"inputs": "' + base64.b64encode(bytes(32 * MIB)) + b'"}'),
    "keys of a validation": (VALIDATIONS, fill(b'{"dataset": "x"', b',"a":0', b"}", 12 * MIB)),
    "a tensor of lists": (V2, fill(TENSOR, b"[],", b"[]]}]}", 8 * MIB)),
    "a tensor of strings": (V2, fill(TENSOR, b'"",', b'""]}]}', 8 * MIB)),
    "a tensor of numbers": (PIXELS, fill(SQUARE, b"1,", b"1]}]}", 8 * MIB)),
    "parameters of lists": (V2, fill(b'{"parameters": {"a": [', b"[],", b"[]]}}", 8 * MIB)),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The process and the host:port of a server with validations."""
    (tmp_path / "data").mkdir()
    options = ("--data-root", str(tmp_path / "data"), "--state-dir", str(tmp_path / "state"))
    with run_server(*options) as (process, url):
        yield process.pid, urlsplit(url).netloc


def read_memory(pid: int, name: str) -> float:
    """VmRSS or VmHWM of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(rf"{name}:\s+(\d+) kB", status)
    return int(kib) / 1024


def send_all_the_time(address: str, path: str, body: bytes, statuses: set[int]) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            statuses.add(connection.getresponse().status)
        except OSError:  # too many bodies at once: the server closes before the client has written all
            pass
        finally:
            connection.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("case", CASES)
def test_the_worst_json_takes_as_much_memory_as_documented(server: tuple[int, str], case: str) -> None:
    (pid, address), (path, body), statuses = server, CASES[case], set[int]()
    found = re.findall(
        r"At most (\d+) MiB are added by 16 connections\s+that send the largest JSON", OPERATIONS.read_text()
    )
    before = read_memory(pid, "VmRSS")
    arguments = (address, path, body, statuses)
    threads = [threading.Thread(target=send_all_the_time, args=arguments) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses and all(400 <= status < 500 for status in statuses)
    assert read_memory(pid, "VmHWM") - before < int(found[0])
