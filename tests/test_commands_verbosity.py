"""--quiet and --verbose: what the logs of the rooms and of the server show."""

import logging
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serving import SERVE
from support.command_line import log_to_stderr

from tencrop.commands.verbosity import set_verbosity
from tencrop.common.errors import BadInput


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ({"quiet": True}, ["warning"]),
        ({}, ["info", "warning"]),
        ({"verbose": True}, ["debug", "info", "warning"]),
    ],
    ids=["quiet", "neither", "verbose"],
)
def test_the_log_of_the_rooms_has_three_levels(
    flags: dict[str, bool],
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr(monkeypatch)
    set_verbosity(**flags)
    for name in ("tencrop.training.train", "another.library"):
        for level in ("debug", "info", "warning"):
            getattr(logging.getLogger(name), level)(f"{name} {level}")
    assert capsys.readouterr().err.splitlines() == [
        *(f"tencrop.training.train {level}" for level in shown),
        "another.library warning",
    ]


def test_both_at_once_are_refused() -> None:
    with pytest.raises(BadInput, match="give one of them"):
        set_verbosity(quiet=True, verbose=True)


@pytest.mark.slow
def test_a_quiet_server_says_nothing_on_stderr(null_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*SERVE, str(null_model), "--quiet", "--port", str(port)]
    with subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            wait_for_server(f"http://127.0.0.1:{port}/healthz")
            process.terminate()
            assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
        finally:
            process.kill()


def wait_for_server(address: str) -> None:
    due = time.monotonic() + 60
    while time.monotonic() < due:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")
