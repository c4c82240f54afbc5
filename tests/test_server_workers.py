"""Workers: one server in several processes. What one of them meets, the others do not notice."""

import fcntl
import itertools
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from serving import SERVE, wait_until_closed

from bench.doors.null_model import answer_square, write_null_model
from tencrop.images.decode import decode
from tencrop.model.contract import CENTER_VIEW
from tencrop.model.embedded import EMBEDDED
from tencrop.model.feature_output import with_features
from tencrop.model.tencropfile import TenCropFile, parse_onnx
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions

pytestmark = pytest.mark.slow
Expected = dict[bytes, tuple[str, float]]  # image -> label and probability
KILLS = 50
LISTENS = "0A"  # a state in /proc/net/tcp
CLIENTS = 8
BLOCK = 512  # bytes, of st_blocks


@pytest.fixture(scope="module")
def images(null_model: Path) -> Expected:
    """JPEGs, each with the answer that the model must give it; no two are equal."""
    contract = TenCropFile.read(null_model).metadata.contract
    made = {}
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
        file = BytesIO()
        Image.fromarray(pixels).resize((300, 280)).save(file, "JPEG")
        answer = answer_square(decode(file.getvalue(), contract)[0], contract)
        made[file.getvalue()] = contract.labels[int(answer.argmax())].name, float(answer.max())
    assert len({round(probability, 3) for _, probability in made.values()}) == len(made)
    return made


class Running:
    """A server with workers: its address, its processes and its log."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self._log = process, log
        due = time.monotonic() + 60
        while self.read_log().count("startup complete") < 2:
            assert process.poll() is None and time.monotonic() < due, self.read_log()
            time.sleep(0.05)
        found = re.search(r"listening on (http://[^\s,]+)", self.read_log())
        assert found
        self.address = found[1]

    def read_log(self) -> str:
        return self._log.read_text()

    def workers(self) -> list[int]:
        """The newest process of each worker."""
        return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", self.read_log())]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=30) as reply:
            return str(reply.read().decode())

    def read_metric(self, sample: str) -> float:
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def serve(*arguments: str, folder: Path) -> Iterator[Running]:
    log = folder / "log"
    command = [*SERVE, *arguments, "--workers", "2", "--port", "0"]
    with log.open("w") as stderr, (folder / "access").open("w") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()


def wait_until_gone(pids: list[int]) -> None:
    due = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < due, "processes are left"
        time.sleep(0.05)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if parent_of(int(path.name)) == pid:
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


def shared_mib(pid: int) -> float:
    """The shared memory that a process has used."""
    found = re.search(r"RssShmem:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


class Load:
    """Clients that send images until the block ends, and compare each answer with the image's own."""

    def __init__(self, address: str, images: Expected) -> None:
        self.outcomes: Counter[object] = Counter()
        self._host = urlsplit(address).netloc
        self._images, self._stopped = list(images.items()), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        choose = random.Random(number)
        with closing(HTTPConnection(self._host, timeout=30)) as connection:
            while not self._stopped.is_set():
                self._send(connection, *choose.choice(self._images))

    def _send(self, connection: HTTPConnection, image: bytes, expected: tuple[str, float]) -> None:
        try:
            connection.request("POST", "/v1/predict", image)
            with closing(connection.getresponse()) as reply:  # which keeps the socket where it is cut off
                found = json.loads(reply.read())
        except (OSError, HTTPException):
            self.outcomes["broken"] += 1
            connection.close()
            return
        if reply.status != 200:
            self.outcomes[reply.status] += 1
            return
        label, probability = expected
        top = found["top"][0]
        is_right = top["label"] == label and abs(top["probability"] - probability) < 1e-4
        self.outcomes["right" if is_right else "wrong"] += 1


def test_kills_of_workers_lose_no_slot_and_mix_no_answers(null_model: Path, images: Expected, tmp_path: Path) -> None:
    with serve(str(null_model), "--engine", "onnxruntime", folder=tmp_path) as server:
        with Load(server.address, images) as load:
            shared = 0.0
            for kill in range(KILLS):
                before = load.outcomes["right"]
                alive = [pid for pid in server.workers() if Path(f"/proc/{pid}").exists()]
                os.kill(random.Random(kill).choice(alive), signal.SIGKILL)
                due = time.monotonic() + 30
                while len(server.workers()) < 3 + kill or load.outcomes["right"] < before + 20:
                    assert time.monotonic() < due, (load.outcomes, server.read_log()[-2000:])
                    time.sleep(0.02)
                if kill == KILLS // 2:
                    shared = shared_mib(server.process.pid)
        assert load.outcomes["wrong"] == 0 and load.outcomes.keys() <= {"right", "broken"}
        assert load.outcomes["broken"] <= KILLS * CLIENTS
        assert server.read_metric('tencrop_admitted_images{model="null"}') == 0
        assert server.read_metric('tencrop_queue_images{model="null"}') == 0
        assert server.read_log().count("was ended by SIGKILL; another one takes its place") == KILLS
        assert len(children_of(server.process.pid)) == 3
        assert shared_mib(server.process.pid) <= shared + 1
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
        assert "Traceback" not in server.read_log()


def count_connections(port: int, pid: int) -> int:
    """The connections to a port that a process holds."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] != LISTENS}
    return sum(Path(os.path.realpath(entry)).name in sockets for entry in Path(f"/proc/{pid}/fd").iterdir())


def wait_for_connections(server: Running, port: int, number: int) -> list[int]:
    due = time.monotonic() + 10
    while sum(held := [count_connections(port, pid) for pid in server.workers()]) != number:
        assert time.monotonic() < due, held
        time.sleep(0.01)
    return held


def test_connections_that_come_together_are_spread_over_the_workers(null_model: Path, tmp_path: Path) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        host, port = urlsplit(server.address).netloc.split(":")
        for number, most in [(16, 10), (4, 3)] * 3:
            with ExitStack() as clients:
                for _ in range(number):
                    clients.enter_context(socket.create_connection((host, int(port))))
                assert max(wait_for_connections(server, int(port), number)) <= most
            wait_for_connections(server, int(port), 0)


def test_metrics_are_the_sum_of_all_processes_and_survive_a_kill(
    null_model: Path, images: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serve(str(null_model), folder=tmp_path) as server:
        with Load(server.address, images) as load:
            while load.outcomes["right"] < 100:
                time.sleep(0.01)
        answered = 'tencrop_requests_total{code="200",method="POST",route="/v1/predict"}'
        assert server.read_metric(answered) == sum(load.outcomes.values()) == load.outcomes["right"]
        assert server.read_metric('tencrop_images_total{model="null"}') == load.outcomes["right"]
        statistics = json.loads(server.get("/v2/models/null/stats"))["model_stats"][0]
        assert statistics["inference_count"] == load.outcomes["right"]
        cpu = server.read_metric("process_cpu_seconds_total")
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        while len(server.workers()) < 4:
            time.sleep(0.05)
        assert server.read_metric(answered) == load.outcomes["right"]
        assert server.read_metric("process_cpu_seconds_total") >= cpu
        lines = [json.loads(line) for line in (tmp_path / "access").read_text().splitlines()]
        assert sum(line["path"] == "/v1/predict" for line in lines) == load.outcomes["right"]
        assert len({line["request"] for line in lines}) == len(lines)
        files = [file.stat() for file in tmp_path.glob("tencrop-*/*.db")]
        assert files and all(file.st_blocks * BLOCK >= file.st_size for file in files), (
            "a full disk would end the server"
        )


def test_the_end_of_the_engine_process_ends_all_with_code_1(null_model: Path, tmp_path: Path) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        children = children_of(server.process.pid)
        (engine,) = set(children) - set(server.workers())
        os.kill(engine, signal.SIGKILL)
        assert server.process.wait(timeout=30) == 1
        wait_until_gone(children)
        last = server.read_log().splitlines()[-1]
        assert last == "tencrop: the process of the engines was ended by SIGKILL"


def test_the_end_of_the_supervisor_ends_all(null_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with serve(str(null_model), folder=tmp_path) as server:
        children = children_of(server.process.pid)
        (folder,) = (tmp_path / "tmp").iterdir()
        with pytest.raises(BlockingIOError):  # as systemd-tmpfiles asks before it removes old files
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.process.kill()
        wait_until_gone(children)
        assert not list((tmp_path / "tmp").iterdir())
        assert "Traceback" not in server.read_log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_all_workers(
    null_model: Path, images: Expected, tmp_path: Path, number: signal.Signals
) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        children = children_of(server.process.pid)
        with Load(server.address, images) as load:
            while load.outcomes["right"] < 20:
                time.sleep(0.01)
            server.process.send_signal(number)
            assert server.process.wait(timeout=30) == 0
        wait_until_gone(children)
        assert load.outcomes.keys() <= {"right", 503, "broken"}
        assert "Traceback" not in server.read_log()


def test_the_queue_is_one_for_all_workers(
    null_model: Path, images: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENCROP_QUEUE_VIEWS", "20")
    with serve(str(null_model), folder=tmp_path) as server, Load(server.address, images) as load:
        due = time.monotonic() + 30
        while load.outcomes[429] < 20 or load.outcomes["right"] < 20:
            assert time.monotonic() < due, load.outcomes
            time.sleep(0.01)


def test_validations_work_from_any_worker(null_model: Path, tmp_path: Path, images: Expected) -> None:
    contract = TenCropFile.read(null_model).metadata.contract
    for label, image in zip(contract.labels, itertools.cycle(images), strict=False):
        (tmp_path / "data" / "set" / label.id).mkdir(parents=True)
        (tmp_path / "data" / "set" / label.id / "photo.jpg").write_bytes(image)
    arguments = ("--data-root", str(tmp_path / "data"), "--state-dir", str(tmp_path / "state"))
    with serve(str(null_model), *arguments, folder=tmp_path) as server:
        body = json.dumps({"dataset": "set"}).encode()
        asked = urllib.request.Request(
            f"{server.address}/v1/validations", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=30) as reply:
            name = json.loads(reply.read())["id"]
        seen: set[str] = set()
        due = time.monotonic() + 60
        while "done" not in seen:
            job = json.loads(server.get(f"/v1/validations/{name}"))
            assert time.monotonic() < due and job["status"] != "failed", job["error"]
            seen.add(job["status"])
            time.sleep(0.05)
        for _ in range(6):  # each by a new connection, which any worker may take
            assert "<html" in server.get(f"/v1/validations/{name}/report")
            assert name in server.get("/v1/validations")
        assert "event: end" in server.get(f"/v1/validations/{name}/events")
        with pytest.raises(urllib.error.HTTPError) as unknown:
            server.get("/v1/validations/" + "0" * 24)
        assert unknown.value.code == 404
        unknown.value.close()  # else its socket stays until a garbage collection


def test_features_come_from_any_worker(tmp_path: Path, photographs: dict[str, Path]) -> None:
    file = with_features(TenCropFile.read(EMBEDDED), "fc7")
    graph = parse_onnx(file.graph, "")
    graph.metadata_props.add(key="tencrop.features", value='["fc7"]')
    (tmp_path / "net.onnx").write_bytes(graph.SerializeToString())
    china, flower = (photographs[name].read_bytes() for name in ("china", "flower"))
    with open_classifier(tmp_path / "net.onnx", EngineOptions("cpu", "openvino", "fp32")) as net:
        squares = np.stack([decode(image, net.contract)[0] for image in (china, flower)])
        want = net.forward_features(squares, "fc7")
    chosen = {"center": want[:, CENTER_VIEW].tolist(), "ten": want.mean(1).tolist()}
    arguments = (str(tmp_path / "net.onnx"), "--engine", "openvino", "--precision", "fp32")
    with serve(*arguments, folder=tmp_path) as server, ThreadPoolExecutor(CLIENTS) as clients:

        def ask(number: int) -> bool:
            """Ask for one image's features, or for its labels, which a forward pass computes for others besides."""
            views, index = list(chosen)[number % 2], number // 2 % 2
            path = "/v1/predict" if number % 3 == 0 else f"/v1/features?views={views}"
            with urllib.request.urlopen(server.address + path, (china, flower)[index], timeout=60) as reply:
                found = json.load(reply)
            return "top" in found if number % 3 == 0 else bool(found["features"] == chosen[views][index])

        assert all(clients.map(ask, range(36)))


def test_an_error_of_the_models_is_the_one_line_that_it_is_without_workers(tmp_path: Path) -> None:
    done = subprocess.run(
        [*SERVE, str(tmp_path / "none.onnx"), "--workers", "2", "--port", "0"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"tencrop: {tmp_path}/none.onnx: cannot be read (No such file or directory); name a")
    assert done.stderr.count("\n") == 1


def test_a_temporary_directory_without_room_is_one_line(null_model: Path, tmp_path: Path) -> None:
    command = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *SERVE, str(null_model), "--workers", "2", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "tencrop: the workers cannot share a temporary directory (File too large); "
        "make room there, or name another one by TMPDIR\n"
    )
    assert not list(tmp_path.iterdir())


def test_sigterm_while_the_models_load_leaves_nothing(null_model: Path, tmp_path: Path) -> None:
    command = [*SERVE, str(null_model), "--workers", "2", "--port", "0"]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        while not (children := children_of(process.pid)):
            time.sleep(0.01)
        assert list(tmp_path.iterdir())
        process.terminate()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    wait_until_gone(children)
    assert not list(tmp_path.iterdir())


def test_an_engine_process_that_leaves_messages_unread_ends_all_with_code_1(null_model: Path, tmp_path: Path) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        children = children_of(server.process.pid)
        (engine,) = set(children) - set(server.workers())
        os.kill(engine, signal.SIGSTOP)
        os.kill(server.workers()[0], signal.SIGKILL)  # of which the supervisor tells the engine process
        wait_until_gone(server.workers()[:1])
        os.kill(engine, signal.SIGKILL)
        assert server.process.wait(timeout=30) == 1
        wait_until_gone(children)
        assert server.read_log().splitlines()[-1] == "tencrop: the process of the engines was ended by SIGKILL"
        assert "Traceback" not in server.read_log()


def test_the_end_of_a_supervisor_that_leaves_messages_unread_ends_all(null_model: Path, tmp_path: Path) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        children = children_of(server.process.pid)
        os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(server.workers()[0], signal.SIGKILL)  # of which the engine process tells the supervisor
        time.sleep(0.5)
        server.process.kill()
        server.process.wait()
        wait_until_gone(children)
        assert "Traceback" not in server.read_log()


def test_nobody_can_connect_while_the_server_drains(null_model: Path, tmp_path: Path) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        host, port = urlsplit(server.address).netloc.split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
            server.get("/readyz")
            server.process.terminate()
            wait_until_closed(host, int(port))
            assert server.process.poll() is None


@pytest.mark.parametrize("who", ["supervisor", "engine"])
def test_a_worker_comes_back_once_there_are_file_descriptors(null_model: Path, tmp_path: Path, who: str) -> None:
    with serve(str(null_model), folder=tmp_path) as server:
        (engine,) = set(children_of(server.process.pid)) - set(server.workers())
        pid = {"supervisor": server.process.pid, "engine": engine}[who]
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, limits[1]))
        os.kill(server.workers()[0], signal.SIGKILL)
        line = {"supervisor": "cannot be started (Too many open files)", "engine": "no file descriptor is left"}[who]
        due = time.monotonic() + 20
        while line not in server.read_log():
            assert time.monotonic() < due and server.process.poll() is None, server.read_log()
            time.sleep(0.05)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        alive: list[int] = []
        while len(alive) < 2 or server.get("/readyz") is None:
            assert time.monotonic() < due and server.process.poll() is None, server.read_log()
            alive = [each for each in children_of(server.process.pid) if each in server.workers()]
            time.sleep(0.05)
        assert "Traceback" not in server.read_log()


def post_json(url: str, body: bytes, **headers: str) -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as reply:
        return dict(json.loads(reply.read()))


def test_labels_of_requests_to_any_worker_stay_with_the_shadow(
    null_model: Path, images: Expected, tmp_path: Path
) -> None:
    kept = ("--feedback", "--keep-disagreements", "1", "--state-dir", str(tmp_path / "state"))
    arguments = (str(null_model), "--shadow", f"old={null_model}", *kept)
    with serve(*arguments, folder=tmp_path) as server:
        for number, image in enumerate(images):  # each by a new connection, which any worker may take
            post_json(f"{server.address}/v1/predict", image, **{"X-Request-Id": f"photo-{number}"})
        due = time.monotonic() + 30
        while (found := json.loads(server.get("/v1/shadow")))["compared"] < len(images):
            assert time.monotonic() < due, found
            time.sleep(0.05)
        assert (found["disagreements"], found["dropped"], found["waiting"]) == (0, 0, 0)
        assert server.read_metric('tencrop_shadow_compared_total{model="null",shadow="old"}') == len(images)
        for number, (label, _) in enumerate(images.values()):
            body = json.dumps({"request": f"photo-{number}", "label": label if number else "class0"}).encode()
            answer = post_json(f"{server.address}/v1/feedback", body, **{"Content-Type": "application/json"})
            assert answer["model"] == answer["shadow"] and (answer["label"] == answer["model"]) == bool(number)
        assert "<h1>Shadow</h1>" in server.get("/shadow")
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
        assert "Traceback" not in server.read_log()
    with serve(*arguments, folder=tmp_path) as server:
        found = json.loads(server.get("/v1/shadow"))
    assert found["right"] == {"both": len(images) - 1, "only_model": 0, "only_shadow": 0, "neither": 1}
    assert found["compared"] == 0


def test_a_shadow_of_other_classes_is_one_line(null_model: Path, tmp_path: Path) -> None:
    other = write_null_model(tmp_path, classes=51)
    command = [*SERVE, str(null_model), "--shadow", f"old={other}", "--workers", "2", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "tencrop: --shadow old: it has other classes than null: 'class50' is in old alone; "
    )
