"""common/standard_streams.py: a command that is started without stdin, stdout or stderr works, and says its errors."""

import subprocess
import sys

import pytest

TENCROP = f'"{sys.executable}" -m tencrop'


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("recipes >&-", 0, b""),
        ("predict - --precision fp32 <&-", 1, b"tencrop: -: the image is empty (0 bytes)\n"),
    ],
    ids=["stdout", "stdin"],
)
def test_a_closed_stream_is_an_empty_one(command: str, code: int, error: bytes) -> None:
    done = subprocess.run(["sh", "-c", f"{TENCROP} {command}"], stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stderr) == (code, error)


def test_an_error_goes_nowhere_else_where_stderr_is_closed() -> None:
    done = subprocess.run(["sh", "-c", f"{TENCROP} info nowhere 2>&-"], capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
