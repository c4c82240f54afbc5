"""`tencrop serve` as a process: little memory, no torch, no other device than asked for, exit code 0 at SIGTERM."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from serving import SERVE, read_address, run_server
from support.command_line import call

from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.http_server import bind
from tencrop.server.settings import Settings

MAX_RESIDENT_MIB = 700


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `tencrop serve` process on a free port, and its address."""
    with run_server() as running:
        yield running


@pytest.fixture
def null_server(null_model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The same with a model that answers at once."""
    with run_server(str(null_model)) as running:
        yield running


@pytest.mark.slow
def test_server_answers_without_torch_in_little_memory(
    server: tuple[subprocess.Popen[str], str], photographs: dict[str, Path]
) -> None:
    process, address = server
    for _ in range(20):
        with urllib.request.urlopen(f"{address}/v1/predict", photographs["flower"].read_bytes(), timeout=60) as reply:
            answer = json.load(reply)
    assert len(answer["top"]) == 5
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libtorch" not in mapped and "openvino" in mapped
    assert resident(process, "VmHWM") < MAX_RESIDENT_MIB


@pytest.mark.slow
def test_uploads_of_fifty_megapixels_leave_no_memory_behind() -> None:
    """The largest images that the server takes, four at once, in the mode that costs most memory."""
    packed = io.BytesIO()
    Image.new("RGBA", (7000, 7000), "teal").save(packed, "PNG")
    patient = os.environ | {"TENCROP_DEADLINE_SECONDS": "120"}  # the test is of memory, and cores may be busy
    with run_server(**patient) as (process, address), ThreadPoolExecutor(4) as pool:
        for reply in pool.map(
            lambda _: urllib.request.urlopen(f"{address}/v1/predict", packed.getvalue(), timeout=120), range(4)
        ):
            with reply:
                assert len(json.load(reply)["top"]) == 5
        assert resident(process, "VmHWM") < 1.2 * MAX_RESIDENT_MIB
        assert resident(process, "VmRSS") < MAX_RESIDENT_MIB / 1.5


def resident(process: subprocess.Popen[str], field: str) -> float:
    """A memory field of /proc/PID/status in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.mark.slow
def test_an_idle_connection_ends_after_the_setting(null_model: Path) -> None:
    with run_server(str(null_model), **os.environ, TENCROP_KEEP_ALIVE_SECONDS="1") as (_, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            started = time.monotonic()
            while client.recv(65536):
                pass
        assert 0.9 < time.monotonic() - started < 4


def test_sigterm_ends_with_exit_code_0(null_server: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = null_server
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


@pytest.mark.slow
def test_sighup_drains_as_sigterm_does(server: tuple[subprocess.Popen[str], str], photographs: dict[str, Path]) -> None:
    process, address = server
    data = photographs["flower"].read_bytes()
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(urllib.request.urlopen, f"{address}/v1/predict", data, 60) for _ in range(12)]
        wait_for_admitted(address, 12)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)  # the shell and the terminal both send one
        assert [reply.result().status for reply in replies] == [200] * 12
    assert process.wait(timeout=30) == 0


def wait_for_admitted(address: str, images: int) -> None:
    """Wait until so many images are admitted, or all are answered."""
    due = time.monotonic() + 30
    while time.monotonic() < due:
        metrics = urllib.request.urlopen(f"{address}/metrics", timeout=60).read().decode()
        counted = re.findall(r"^tencrop_(?:admitted_images|images_total).* (\S+)$", metrics, re.MULTILINE)
        if sum(map(float, counted)) >= images:
            return


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_user_signals_do_nothing(null_server: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    process, address = null_server
    process.send_signal(number)
    assert urllib.request.urlopen(f"{address}/healthz", timeout=60).status == 200
    assert process.poll() is None


@pytest.mark.slow
def test_nohup_keeps_sighup_away(null_model: Path) -> None:
    command = ["nohup", *SERVE, str(null_model), "--port", "0"]
    with subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            address = read_address(process)
            process.send_signal(signal.SIGHUP)
            assert urllib.request.urlopen(f"{address}/healthz", timeout=60).status == 200
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_sigterm_does_not_wait_for_a_client_that_reads_nothing(
    null_server: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = null_server
    host, port = url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            client.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("tencrop: "), result.stderr
    return result.stderr


@pytest.mark.slow
def test_a_missing_device_is_refused_before_the_port_is_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--device", "cuda:99", "--port", str(taken.getsockname()[1]))  # no machine has a hundred GPUs
    assert result.returncode == 1
    assert "NVIDIA driver" in one_line(result)


@pytest.mark.slow
def test_taken_port_is_one_line(null_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(str(null_model), "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1 and "choose another --port" in one_line(result)


@pytest.mark.slow
def test_a_host_that_is_no_address_is_exit_2_and_one_line(null_model: Path) -> None:
    result = run(str(null_model), "--host", "999.1.1.1")
    assert result.returncode == 2 and "not an address" in one_line(result)


@pytest.mark.parametrize("host", ["999.1.1.1", "127..0.0.1"])
def test_a_host_that_is_no_address_is_bad_input(host: str) -> None:
    with pytest.raises(BadInput, match=f"--host {host}: not an address of this machine"):
        bind(Settings(host=host))


Refuse = Callable[..., str]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run `tencrop serve` in this process, which keeps its signals and its memory. It must end with exit code 2.

    Returns its one line.
    """
    for name in ("_ignore_user_signals", "give_back_large_blocks", "silence_libtiff", "decode_in_one_thread"):
        monkeypatch.setattr(f"tencrop.server.run.{name}", lambda: None)

    def refuse_arguments(*arguments: str) -> str:
        assert call(monkeypatch, "serve", *arguments) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said.startswith("tencrop: "), said
        return said

    return refuse_arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "gpu"), "expected auto, cpu, cuda"),
        (("--engine", "onnxruntime", "--precision", "bf16"), "precision bf16: not offered by engine onnxruntime"),
        (("no-such-model.onnx",), "cannot be read"),
        ((str(Path(__file__)),), "not an ONNX file"),
    ],
)
def test_bad_input_is_exit_2_and_one_line(refuse: Refuse, arguments: tuple[str, ...], message: str) -> None:
    assert message in refuse(*arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"), [("QUEUE_VIEWS", "plenty", "queue_views"), ("QUEU_VIEWS", "7", "no such setting")]
)
def test_bad_environment_is_exit_2(
    refuse: Refuse, name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TENCROP_{name}", value)
    assert message in refuse()


@pytest.mark.slow
def test_one_model_on_two_devices_and_an_ensemble(photographs: dict[str, Path], tmp_path: Path) -> None:
    """Two engines on the one CPU stand for engines on two GPUs."""
    other = tmp_path / "other.onnx"
    other.write_bytes((EMBEDDED / "tencrop.onnx").read_bytes())
    options = ["--device", "cpu,cpu", "--ensemble", "both=caltech101,other"]
    with run_server(str(EMBEDDED / "tencrop.onnx"), str(other), *options) as (process, url):
        ready = json.load(urllib.request.urlopen(f"{url}/readyz", timeout=60))
        assert [model["name"] for model in ready["models"]] == ["caltech101", "other", "both"]
        other.write_bytes(b"a model that is replaced while it is served changes nothing")
        answers = {}
        for name in ("caltech101", "other", "both"):
            data = photographs["flower"].read_bytes()
            with urllib.request.urlopen(f"{url}/v1/predict?model={name}", data, timeout=60) as reply:
                answers[name] = json.load(reply)
        tasks = [
            Path(f"/proc/{process.pid}/task/{task}/comm").read_text()
            for task in os.listdir(f"/proc/{process.pid}/task")
        ]
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert {answer["model"] for answer in answers.values()} == set(answers)
    assert {each["device"] for each in (*answers.values(), *ready["models"])} == {"cpu,cpu"}
    assert [guess["index"] for guess in answers["both"]["top"]] == [
        guess["index"] for guess in answers["caltech101"]["top"]
    ]
    assert len(tasks) >= 6  # an engine thread for each model on each device


def test_devices_that_would_answer_differently_are_refused(classifier: Classifier) -> None:
    other = open_classifier(EMBEDDED, EngineOptions(engine="onnxruntime"))
    with pytest.raises(BadInput, match="caltech101 would be openvino on cpu in fp32 and onnxruntime on cpu in fp32"):
        create_app([classifier, other], Settings())


@pytest.mark.parametrize("ensemble", ["both", "both=null,other", "=null", "null=null,null"])
def test_a_bad_ensemble_is_refused(refuse: Refuse, null_model: Path, ensemble: str) -> None:
    said = refuse(str(null_model), "--ensemble", ensemble)
    assert "expected NAME=A,B" in said or "two models are named" in said
