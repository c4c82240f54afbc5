"""A process without a free file descriptor: one line a minute, a count, and answers again once there are some."""

import re
import resource
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection

import pytest
from serving import SERVE

from tencrop.server.descriptors import DescriptorWatch

LIMIT = 128  # descriptors of the server here


def read_counter(address: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as reply:
        found = re.search(r"^tencrop_descriptors_exhausted_total (\S+)$", reply.read().decode(), re.MULTILINE)
    assert found
    return float(found[1])


def wait_for_address(log: Path) -> str:
    due = time.monotonic() + 60
    while "startup complete" not in log.read_text():
        assert time.monotonic() < due, log.read_text()
        time.sleep(0.05)
    found = re.search(r"listening on (http://\S+)", log.read_text())
    assert found
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize("lowered", [False, True])
def test_a_server_without_a_free_descriptor_says_so_and_answers_again(
    null_model: Path, tmp_path: Path, lowered: bool
) -> None:
    """`lowered`: the limit falls below what is in use while the server runs, so that accept itself fails."""
    log = tmp_path / "log"
    command = ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *SERVE, str(null_model), "--port", "0"]
    with log.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            address = wait_for_address(log)
            assert read_counter(address) == 0
            host, _, port = address.removeprefix("http://").partition(":")
            if lowered:
                used = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used - 2, LIMIT))
            with ExitStack() as stack:
                for _ in range(2 * LIMIT):
                    stack.enter_context(create_connection((host, int(port)), timeout=10))
                time.sleep(1.5)
                assert process.poll() is None
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
            time.sleep(0.5)
            assert urllib.request.urlopen(f"{address}/readyz", timeout=10).status == 200
            assert read_counter(address) >= (1 if lowered else LIMIT)
            assert log.read_text().count("no file descriptor is left") == 1
            assert "Traceback" not in log.read_text()
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_the_log_has_a_line_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    watch, now = DescriptorWatch(), [1000.0]
    monkeypatch.setattr("tencrop.server.descriptors.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tencrop.server.descriptors.os.open", _raise_no_descriptor)
    for _ in range(120):
        watch.check()
        now[0] += 1
    assert len(caplog.records) == 2 and watch.exhausted._value.get() == 120


def _raise_no_descriptor(*_: object) -> None:
    raise OSError(24, "Too many open files")
