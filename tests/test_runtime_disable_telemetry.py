"""runtime/disable_telemetry.py: a prediction writes nothing into the home folder and opens no connection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tencrop.model.embedded import EMBEDDED

LISTENS = """
import socket, sys
def refused(*_):
    raise SystemExit("a connection was opened")
sys.addaudithook(lambda event, arguments: refused() if event == "socket.connect" else None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_prediction_reports_to_nobody(engine: str, photographs: dict[str, Path], tmp_path: Path) -> None:
    arguments = [
        "tencrop",
        "predict",
        str(photographs["china"]),
        "--model",
        str(EMBEDDED / "tencrop.onnx"),
        "--engine",
        engine,
        "--device",
        "cpu",
    ]
    script = f"{LISTENS}\nsys.argv = {arguments}\nfrom tencrop import cli\ncli.main()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {
        "HOME": str(tmp_path)
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and done.stdout.count("%") == 5, done.stderr
    assert list(tmp_path.iterdir()) == []
