"""Models are loaded, swapped and unloaded while the server answers; a load that fails leaves all as it was."""

import base64
import gc
import hashlib
import json
import os
import re
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from serving import run_server
from support.command_line import call

from bench.doors.null_model import answer_square, write_null_model
from tencrop.common.errors import BadInput
from tencrop.images.decode import decode
from tencrop.model.contract import Contract, Label
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.batcher import Batcher
from tencrop.server.keys import hash_key
from tencrop.server.open_models import open_models
from tencrop.server.pipeline import Pipeline
from tencrop.server.repository import find_repository
from tencrop.server.settings import Settings

KEY = {"X-API-Key": "secret"}
OPTIONS = EngineOptions("cpu", "onnxruntime", "fp32")
CLASSES = (20, 30)  # of two models, whose answers differ
URL = "/v2/repository"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two models, as files."""
    folder = tmp_path_factory.mktemp("models")
    first, second = (write_null_model(folder, classes).read_bytes() for classes in CLASSES)
    return first, second


@pytest.fixture
def root(tmp_path: Path, files: tuple[bytes, bytes]) -> Path:
    """A repository with the model `a`, which is the first file; and the keys beside it."""
    return make_root(tmp_path, files)


def make_root(folder: Path, files: tuple[bytes, bytes]) -> Path:
    (folder / "keys").write_text(f"anna {hash_key(KEY['X-API-Key'])}\n")
    (folder / "keys").chmod(0o600)
    root = folder / "models"
    (root / "a").mkdir(parents=True)
    (root / "a" / "tencrop.onnx").write_bytes(files[0])
    return root


def open_client(root: Path, paths: Sequence[Path] = (), ensembles: Sequence[str] = (), **settings: Any) -> TestClient:
    """A client, with a key, of a server that serves these models, ensembles and the repository."""
    given = {"model_repository": root, "api_key_file": root.parent / "keys", **settings}
    made = Settings(**given)
    repository = find_repository(made, OPTIONS)
    models = open_models(paths, OPTIONS, ensembles, made, repository.files if repository else {})
    app = create_app(models.served, made, shadow=models.shadow, repository=repository)
    return TestClient(app, headers=KEY)


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with open_client(root) as client:
        yield client


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, files: tuple[bytes, bytes]) -> Iterator[tuple[TestClient, Path]]:
    """A client and the repository of a server in which no change succeeds."""
    root = make_root(tmp_path_factory.mktemp("refusing"), files)
    with open_client(root) as client:
        yield client, root


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file at once, as a deployment does."""
    path.with_suffix(".new").write_bytes(content)
    os.replace(path.with_suffix(".new"), path)


def load(client: TestClient, name: str, change: str = "load", **body: Any) -> tuple[int, str]:
    """Ask for a change -> the status, and the error."""
    reply = client.post(f"{URL}/models/{name}/{change}", **body)
    return reply.status_code, reply.json().get("error", "")


def predict(client: TestClient, photographs: dict[str, Path], model: str = "a") -> dict[str, Any]:
    reply = client.post(f"/v1/predict?model={model}&top=99", content=photographs["china"].read_bytes())
    return {"status": reply.status_code, **reply.json()}


def list_states(client: TestClient, **body: Any) -> dict[str, str]:
    return {entry["name"]: entry["state"] for entry in client.post(f"{URL}/index", **body).json()}


def find_served(client: TestClient) -> dict[str, str]:
    """The hashes of the served models by name."""
    return {model["name"]: model["sha256"] for model in client.get("/readyz").json()["models"]}


def until(condition: Callable[[], Any]) -> None:
    due = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < due, "waited 30 s in vain"
        time.sleep(0.01)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- load, swap, unload


def test_a_model_is_loaded_swapped_and_unloaded(
    client: TestClient, root: Path, files: tuple[bytes, bytes], photographs: dict[str, Path]
) -> None:
    assert predict(client, photographs)["model_sha256"] == sha256(files[0])
    (root / "b.onnx").write_bytes(files[1])
    assert predict(client, photographs, "b")["status"] == 422
    assert list_states(client) == {
        "a": "READY",
        "a-pixels": "READY",
        "b": "UNAVAILABLE",
        "b-pixels": "UNAVAILABLE",
    }
    assert list_states(client, json={"ready": True}) == {"a": "READY", "a-pixels": "READY"}
    assert load(client, "b") == (200, "")
    assert set(list_states(client).values()) == {"READY"}
    answer = predict(client, photographs, "b")
    assert (answer["model_sha256"], len(answer["top"])) == (sha256(files[1]), CLASSES[1])
    assert [model["name"] for model in client.get("/readyz").json()["models"]] == ["a", "b"]
    assert [model["classes"] for model in client.get("/v1/models").json()["models"]] == list(CLASSES)
    assert set(client.get("/v2").json()["models"]) == {"a", "b"}
    assert client.get("/v2/models/b-pixels/ready").status_code == 200
    (statistics,) = client.get("/v2/models/b/stats").json()["model_stats"]
    assert statistics["inference_stats"]["success"]["count"] == 1

    replace_file(root / "a" / "tencrop.onnx", files[1])
    assert len(predict(client, photographs)["top"]) == CLASSES[0]  # a file alone changes nothing
    assert load(client, "a") == (200, "")
    answer = predict(client, photographs)
    assert (answer["model_sha256"], len(answer["top"])) == (sha256(files[1]), CLASSES[1])
    assert [model["name"] for model in client.get("/readyz").json()["models"]] == ["a", "b"]

    assert load(client, "a", "unload") == (200, "")  # the first one: `b` is now what requests without a name get
    assert client.post("/v1/predict", content=photographs["china"].read_bytes()).json()["model"] == "b"
    assert predict(client, photographs)["status"] == 422
    assert client.get("/v2/models/a/ready").status_code == 404
    assert list_states(client)["a"] == "UNAVAILABLE"
    metrics = client.get("/metrics").text
    assert re.findall(r'^tencrop_engine_info.*model="(\w+)"', metrics, re.MULTILINE) == ["b"]
    assert re.findall(r'^tencrop_admitted_images\{model="(\w+)"\}', metrics, re.MULTILINE) == ["b"]
    assert 'tencrop_images_total{model="a"} 3.0' in metrics  # counts stay
    assert load(client, "b", "unload") == (409, "'b' is the only model; load another one first")
    assert load(client, "a") == (200, "") and predict(client, photographs)["status"] == 200


@pytest.mark.parametrize("change", ["load", "unload"])
def test_requests_that_wait_are_answered_by_the_model_that_they_began_with(
    change: str,
    root: Path,
    files: tuple[bytes, bytes],
    photographs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root / "b.onnx").write_bytes(files[1])
    gate = threading.Event()
    with open_client(root) as client, ThreadPoolExecutor(12) as pool:
        state = client.app.state.server_state  # type: ignore[attr-defined]
        old = state.pipelines["a"]
        forward = old.queue.model.forward
        monkeypatch.setattr(old.queue.model, "forward", lambda images: gate.wait(30) and forward(images))
        waiting = [pool.submit(predict, client, photographs) for _ in range(9)]
        until(lambda: old.admission.count_admitted() == 9)
        replace_file(root / "a" / "tencrop.onnx", files[1])
        changing = pool.submit(load, client, "a", change)
        until(lambda: state.pipelines.get("a") is not old)
        answer = predict(client, photographs)
        if change == "load":
            assert (answer["model_sha256"], len(answer["top"])) == (sha256(files[1]), CLASSES[1])
        else:
            assert answer["status"] == 422
        assert not changing.done() and not any(each.done() for each in waiting)
        gate.set()
        answers = [each.result() for each in waiting]
        assert {(each["model_sha256"], len(each["top"])) for each in answers} == {(sha256(files[0]), CLASSES[0])}
        assert changing.result() == (200, "")


@pytest.mark.slow
def test_swapped_models_leave_no_memory_behind(client: TestClient) -> None:
    state = client.app.state.server_state  # type: ignore[attr-defined]
    first, old = state.pipelines["a"].queue, list[weakref.ref[Pipeline]]()
    gc.collect()
    gc.disable()  # which may come late
    try:
        for _ in range(3):
            old.append(weakref.ref(state.pipelines["a"]))
            assert load(client, "a") == (200, "")
            until(lambda: sum(name.name == "engine a" for name in threading.enumerate()) == 1)
        until(lambda: old[1]() is None)
    finally:
        gc.enable()
    assert "closed" in repr(first.model) and first.model.file.graph == b""  # the application itself holds this one
    assert state.pipelines["a"].queue.is_alive


def test_a_validation_keeps_the_model_that_it_began_with(
    root: Path, tmp_path: Path, files: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    began, swapped, seen = threading.Event(), threading.Event(), []

    def evaluate(job: Any, folder: Path, out: Path, batcher: Batcher, is_stopped: Any, change: Any) -> None:
        began.set()
        assert swapped.wait(30)
        images = np.zeros((1, 256, 256, 3), np.uint8)
        seen.append(batcher.run_background(images, is_stopped)[0].shape)
        raise BadInput("that is all")

    monkeypatch.setattr("tencrop.server.jobs.evaluate_job", evaluate)
    with open_client(root, data_root=tmp_path / "data", state_dir=tmp_path / "state") as client:
        url = f"/v1/validations/{client.post('/v1/validations', json={'dataset': 'photos'}).json()['id']}"
        assert began.wait(30)
        replace_file(root / "a" / "tencrop.onnx", files[1])
        old = client.app.state.server_state.pipelines["a"].queue  # type: ignore[attr-defined]
        assert load(client, "a") == (200, "")
        swapped.set()
        until(lambda: client.get(url).json()["status"] == "failed")
        assert client.get(url).json()["error"] == "that is all" and seen == [(1, CLASSES[0])]
        until(lambda: not old.is_alive)


# ---- what is refused


def damage(root: Path, files: tuple[bytes, bytes]) -> None:
    (root / "a" / "tencrop.onnx").write_bytes(files[1][:-9])


def remove(root: Path, files: tuple[bytes, bytes]) -> None:
    (root / "a" / "tencrop.onnx").unlink()


def change_labels(root: Path, files: tuple[bytes, bytes]) -> None:
    assert files[0].count(b'"class19"') == 1
    replace_file(root / "a" / "tencrop.onnx", files[0].replace(b'"class19"', b'"class18"'))


def change_answer(root: Path, files: tuple[bytes, bytes]) -> None:
    """Make the file answer otherwise than its probe says."""
    found = re.search(rb'"probabilities": \[0\.\d', files[0])
    assert found
    wrong = found[0][:-1] + (b"8" if found[0][-1:] < b"5" else b"1")
    replace_file(root / "a" / "tencrop.onnx", files[0].replace(found[0], wrong))


def link_out(root: Path, files: tuple[bytes, bytes]) -> None:
    (root.parent / "outside.onnx").write_bytes(files[1])
    (root / "a" / "tencrop.onnx").unlink()
    (root / "a" / "tencrop.onnx").symlink_to(root.parent / "outside.onnx")


@pytest.mark.parametrize(
    ("spoil", "status", "why"),
    [
        (damage, 400, "a/tencrop.onnx: not an ONNX file, or a truncated one"),
        (remove, 404, "no file of a model 'a' in the repository; it has none"),
        (change_labels, 400, "a/tencrop.onnx: "),
        (change_answer, 400, "a: onnxruntime on cpu fails the model's probe: "),
        (link_out, 400, "a/tencrop.onnx: a link that leads out of the repository"),
    ],
    ids=["damaged", "gone", "wrong contract", "wrong answer", "link out"],
)
def test_a_load_that_fails_leaves_the_old_model(
    refusing: tuple[TestClient, Path],
    files: tuple[bytes, bytes],
    photographs: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, tuple[bytes, bytes]], None],
    status: int,
    why: str,
) -> None:
    client, root = refusing
    before = predict(client, photographs)
    replace_file(root / "a" / "tencrop.onnx", files[0])
    spoil(root, files)
    refused, error = load(client, "a")
    assert refused == status and error.startswith(why) and "\n" not in error and str(root) not in error
    after = predict(client, photographs)
    assert after["status"] == 200 and after["top"] == before["top"]
    assert client.get("/readyz").status_code == 200
    entry = client.post(f"{URL}/index").json()[0]
    assert (entry["name"], entry["state"], entry["reason"]) == ("a", "READY", error)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [f"a: {error}"]


@pytest.mark.parametrize("name", ["none", "..", "..%2Fmodels%2Fa", "a%2Ftencrop", ".hidden", "a%00", "a" * 5000])
def test_other_names_are_unknown(refusing: tuple[TestClient, Path], files: tuple[bytes, bytes], name: str) -> None:
    client, root = refusing
    (root / ".hidden.onnx").write_bytes(files[1])
    for change in ("load", "unload"):
        assert load(client, name, change)[0] == 404
    assert list_states(client) == {"a": "READY", "a-pixels": "READY"}


def test_the_second_name_of_another_model_is_taken(
    refusing: tuple[TestClient, Path], files: tuple[bytes, bytes]
) -> None:
    client, root = refusing
    (root / "a-pixels.onnx").write_bytes(files[1])
    assert load(client, "a-pixels") == (400, "two models are named 'a-pixels'")
    (root / "a-pixels.onnx").unlink()
    assert list_states(client) == {"a": "READY", "a-pixels": "READY"}


def test_parameters_are_refused_by_name(refusing: tuple[TestClient, Path]) -> None:
    client, _ = refusing
    config = {"parameters": {"config": "{}", "file:1/model.onnx": base64.b64encode(b"x").decode()}}
    assert load(client, "a", json=config) == (400, "parameter 'config': not taken; the file alone decides")
    assert load(client, "a", content=b"[")[0] == load(client, "a", json={"parameters": 1})[0] == 400
    assert load(client, "a", content=b" " * (65 << 10))[0] == 413


def test_without_a_repository_or_a_key_nothing_is_loaded(root: Path) -> None:
    with open_client(root, api_key_file=None) as client:
        what = "only the owner of a key may load and unload: start the server with --api-key-file"
        assert load(client, "a") == load(client, "a", "unload") == (403, what)
        assert list_states(client) == {"a": "READY", "a-pixels": "READY"}
    with open_client(root, [root / "a"], model_repository=None) as client:
        what = "no model can be loaded or unloaded: start the server with --model-repository"
        assert load(client, "a") == load(client, "a", "unload") == (404, what)
        client.headers["X-API-Key"] = "wrong"
        assert load(client, "a")[0] == 401


def test_models_of_the_command_line_ensembles_and_shadowed_ones_stay(
    root: Path, tmp_path: Path, files: tuple[bytes, bytes], photographs: dict[str, Path]
) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(files[1])
    (root / "b.onnx").write_bytes(files[0])
    paths, ensembles = [root / "b.onnx", outside], ["both=a,b"]
    with open_client(root, paths, ensembles, shadow=f"old={outside.parent / 'models' / 'a'}") as client:
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["b", "outside", "a", "both"]
        for name in ("outside", "both"):
            (root / f"{name}.onnx").write_bytes(files[0])
            for change in ("load", "unload"):
                status, error = load(client, name, change)
                assert status == 409 and "the server was started with it, and it is not in the repository" in error
        assert load(client, "b") == (
            409,
            "'b' stays: it has a shadow, which compares one pair of models until the server ends",
        )
        before = predict(client, photographs, "both")
        replace_file(root / "a" / "tencrop.onnx", files[1])
        assert load(client, "a") == load(client, "a", "unload") == (200, "")
        assert predict(client, photographs, "both")["top"] == before["top"]  # it keeps the nets that it began with


# ---- the start


def test_two_models_of_one_name_are_refused_at_the_start(
    root: Path, tmp_path: Path, files: tuple[bytes, bytes]
) -> None:
    (tmp_path / "a.onnx").write_bytes(files[1])
    with pytest.raises(BadInput, match="two models are named 'a'"):
        open_client(root, [tmp_path / "a.onnx"])
    (root / "a-pixels.onnx").write_bytes(files[1])
    with pytest.raises(BadInput, match="two models are named 'a-pixels'"):
        open_client(root)


def test_a_link_to_a_folder_gives_the_model_its_own_name(
    root: Path, tmp_path: Path, files: tuple[bytes, bytes]
) -> None:
    (root / "a").rename(root / ".a-v1")
    (root / "a").symlink_to(root / ".a-v1")
    with open_client(root) as client:
        assert list_states(client) == {"a": "READY", "a-pixels": "READY"}
        (root / ".a-v2").mkdir()
        (root / ".a-v2" / "tencrop.onnx").write_bytes(files[1])
        (root / "new").symlink_to(root / ".a-v2")
        os.replace(root / "new", root / "a")
        assert load(client, "a") == (200, "")
        assert client.get("/readyz").json()["models"][0]["sha256"] == sha256(files[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model-repository", "none"), "--model-repository none: cannot be read (No such file or directory)"),
        (("--poll", "5"), "--poll 5: there is no repository; add --model-repository DIR"),
        (("--model-repository", ".", "--workers", "2"), "--model-repository with --workers 2: a repository needs one"),
    ],
    ids=["missing", "poll alone", "workers"],
)
def test_a_repository_that_cannot_be_is_one_line(
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "serve", *options) == 2
    assert said in capsys.readouterr().err


# ---- --poll


@pytest.mark.slow
def test_files_that_appear_change_and_vanish_are_followed(
    root: Path, files: tuple[bytes, bytes], photographs: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = map(sha256, files)
    with open_client(root, poll=0.1) as client:
        (root / "b.onnx").write_bytes(files[1])
        until(lambda: find_served(client) == {"a": first, "b": second})
        replace_file(root / "b.onnx", files[0])
        until(lambda: find_served(client) == {"a": first, "b": first})
        replace_file(root / "b.onnx", files[1][:-9])
        until(lambda: client.post(f"{URL}/index").json()[2]["reason"])
        assert find_served(client) == {"a": first, "b": first}
        (root / "a" / "tencrop.onnx").unlink()
        until(lambda: find_served(client) == {"b": first})
        (root / "b.onnx").unlink()
        until(lambda: "the only model" in client.post(f"{URL}/index").json()[0]["reason"])
        assert find_served(client) == {"b": first}
        (root / "c.onnx").write_bytes(files[1])
        until(lambda: find_served(client) == {"c": second})
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2 and warnings[0].startswith("b: b.onnx: not an ONNX file"), warnings
    assert warnings[1] == "b: 'b' is the only model; load another one first"


def test_a_repository_that_is_away_for_a_while_unloads_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_client(root, poll=0.1) as client:
        root.rename(root.parent / "away")
        until(lambda: "cannot be read" in caplog.text)
        (root.parent / "away").rename(root)
        (root / "b.onnx").write_bytes((root / "a" / "tencrop.onnx").read_bytes())
        until(lambda: len(client.get("/readyz").json()["models"]) == 2)


# ---- under load

SWAPS, ASKERS = 100, 6
WARM_UP_SWAPS = 20  # before memory is compared
MIB = 1 << 10  # in kB


def read_resident(pid: int) -> float:
    """VmRSS of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / MIB


class Asker(threading.Thread):
    """Asks without a pause, and checks that each answer is wholly that of one of the two models."""

    def __init__(self, url: str, picture: bytes, wanted: dict[str, list[float]], stop: threading.Event) -> None:
        super().__init__()
        self.url, self.picture, self.wanted, self.stop = url, picture, wanted, stop
        self.answers: dict[str, int] = dict.fromkeys(wanted, 0)
        self.fault = ""

    def run(self) -> None:
        while not self.stop.is_set() and not self.fault:
            try:
                request = urllib.request.Request(f"{self.url}/v1/predict?model=a&top=99", self.picture, KEY)
                with urllib.request.urlopen(request, timeout=60) as reply:
                    answer = json.load(reply)
                top = sorted(answer["top"], key=lambda guess: int(guess["index"]))
                found = [guess["probability"] for guess in top]
                np.testing.assert_allclose(found, self.wanted[answer["model_sha256"]], rtol=1e-3, atol=1e-6)
                self.answers[answer["model_sha256"]] += 1
            except (OSError, AssertionError, KeyError) as error:
                self.fault = repr(error)


def count_answers(askers: Sequence[Asker]) -> int:
    return sum(sum(asker.answers.values()) for asker in askers)


@pytest.mark.slow
def test_a_hundred_swaps_under_load_lose_and_mix_no_request(
    root: Path, files: tuple[bytes, bytes], photographs: dict[str, Path]
) -> None:
    picture, stop, resident = photographs["china"].read_bytes(), threading.Event(), list[float]()
    wanted = {}
    for content, classes in zip(files, CLASSES, strict=True):
        contract = Contract(labels=tuple(Label(f"class{i}", f"class {i}") for i in range(classes)))
        wanted[sha256(content)] = answer_square(decode(picture, contract)[0], contract).tolist()
    options = ("--model-repository", str(root), "--api-key-file", str(root.parent / "keys"), "--device", "cpu")
    with run_server(*options) as (process, url):
        askers = [Asker(url, picture, wanted, stop) for _ in range(ASKERS)]
        for asker in askers:
            asker.start()
        with triton.InferenceServerClient(url.removeprefix("http://")) as client:
            for swap in range(SWAPS):
                wanted_answers = count_answers(askers) + ASKERS
                replace_file(root / "a" / "tencrop.onnx", files[(swap + 1) % 2])
                client.load_model("a", headers=KEY)
                while count_answers(askers) < wanted_answers and not any(asker.fault for asker in askers):
                    time.sleep(0.001)
                resident.append(read_resident(process.pid))
        stop.set()
        for asker in askers:
            asker.join()
        metrics = urllib.request.urlopen(f"{url}/metrics", timeout=60).read().decode()
        process.terminate()
        assert process.wait(30) == 0
    assert [asker.fault for asker in askers] == [""] * ASKERS
    counts = {model: sum(asker.answers[model] for asker in askers) for model in wanted}
    assert min(counts.values()) > SWAPS
    assert f'tencrop_images_total{{model="a"}} {sum(counts.values())}.0' in metrics
    first, last = max(resident[:WARM_UP_SWAPS]), max(resident[-WARM_UP_SWAPS:])
    assert last < 1.1 * first, f"{first:.0f} MiB after {WARM_UP_SWAPS} swaps, {last:.0f} MiB after {SWAPS}"
