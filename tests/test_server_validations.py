"""/v1/validations through the whole application: the run of `tencrop evaluate`, one at a time, cancelled, continued."""

import asyncio
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.crops import assert_same_validation, write_crops

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.common.terminal_text import escape_text
from tencrop.dataset.layouts import open_source
from tencrop.evaluation import part_file
from tencrop.evaluation import plan as plan_file
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.images.decode import ImageInfo, decode
from tencrop.model.contract import Contract
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.cores import cores
from tencrop.server import jobs as jobs_file
from tencrop.server.app import create_app
from tencrop.server.batcher import Batcher
from tencrop.server.errors import ApiError
from tencrop.server.job_message import public_message
from tencrop.server.json_body import MAX_SMALL_JSON
from tencrop.server.routes import validations
from tencrop.server.schemas import Validation
from tencrop.server.settings import Settings, read_settings

URL = "/v1/validations"
IMAGES = 10  # in chunks of 4


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "CHUNK", 4)
    monkeypatch.setattr(validations, "TICK", 0.02)


@pytest.fixture(scope="module")
def root(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root: `photos` (one is broken), `other` with a class of no model, `empty`, and links out of the root."""
    root = tmp_path_factory.mktemp("data") / "root"
    write_crops(root / "photos", photographs, IMAGES, broken="pagoda/china02.jpg")
    (root / "other" / "unheard-of").mkdir(parents=True)
    Image.new("RGB", (300, 300)).save(root / "other" / "unheard-of" / "a.png")
    (root / "empty").mkdir()
    (root.parent / "outside").mkdir()
    (root / "out").symlink_to(root.parent / "outside")
    (root / "circle").symlink_to(root / "circle")
    return root


@pytest.fixture
def settings(root: Path, tmp_path: Path) -> Settings:
    return Settings(data_root=root, state_dir=tmp_path / "state")


@pytest.fixture
def client(classifier: Classifier, settings: Settings) -> Iterator[TestClient]:
    with serving(classifier, settings) as client:
        yield client


@pytest.fixture(scope="module")
def idle(classifier: Classifier, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The client of a server that gets no job, for all requests that are refused."""
    with serving(classifier, Settings(data_root=root, state_dir=tmp_path_factory.mktemp("idle") / "state")) as client:
        yield client


@contextmanager
def serving(classifier: Classifier, settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app([classifier], settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is not set. Once it is, a job's forward passes run."""
    gate, forward = threading.Event(), Batcher.run_background

    def held(self: Batcher, images: np.ndarray, stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        while not gate.wait(0.01):
            if stopped():
                raise Stopped("stopped")
        return forward(self, images, stopped)

    monkeypatch.setattr(Batcher, "run_background", held)
    return gate


def ask(client: TestClient, dataset: str = "photos", **more: Any) -> str:
    reply = client.post(URL, json={"dataset": dataset, **more})
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"{URL}/{reply.json()['id']}"
    return str(reply.json()["id"])


def wait_for(client: TestClient, name: str, *statuses: str) -> dict[str, Any]:
    due = time.monotonic() + 30
    while (job := client.get(f"{URL}/{name}").json())["status"] not in statuses:
        assert time.monotonic() < due, job
        time.sleep(0.01)
    return dict(job)


def direct(root: Path, classifier: Classifier, out: Path, limit: int | None = None, holdout: float = 1) -> Path:
    """Evaluate the data set as `tencrop evaluate` does -> the run's folder."""
    evaluate(
        plan_evaluation(open_source(root / "photos"), classifier, holdout, limit),
        classifier,
        out,
        False,
        lambda done: None,
    )
    return out


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 5])
def test_job_is_the_run_of_evaluate(
    limit: int | None, client: TestClient, root: Path, settings: Settings, classifier: Classifier, tmp_path: Path
) -> None:
    name = ask(client, limit=limit)
    job = wait_for(client, name, "done", "failed")
    out = direct(root, classifier, tmp_path / "direct", limit)
    assert_same_validation(settings.state_dir / "validations" / name / "run", out)
    assert job["summary"] == json.loads((out / "summary.json").read_text())
    assert (job["status"], job["dataset"], job["model"], job["limit"]) == ("done", "photos", "caltech101", limit)
    assert job["images"] == job["total"] == (limit or IMAGES) and job["images_per_s"] > 0 and job["error"] is None
    assert job["created"] <= job["started"] <= job["finished"]


@pytest.mark.slow
def test_job_holds_out_as_evaluate_does(
    client: TestClient, root: Path, settings: Settings, classifier: Classifier, tmp_path: Path
) -> None:
    name = ask(client, holdout=0.4)
    job = wait_for(client, name, "done", "failed")
    assert_same_validation(
        settings.state_dir / "validations" / name / "run", direct(root, classifier, tmp_path / "direct", holdout=0.4)
    )
    assert (job["holdout"], job["summary"]["images"], job["total"]) == (0.4, 0.4, 4)


@pytest.mark.slow
def test_events_tell_each_chunk_and_the_end(client: TestClient, gate: threading.Event) -> None:
    name = ask(client)
    wait_for(client, name, "running")
    threading.Timer(0.2, gate.set).start()
    reply = client.get(f"{URL}/{name}/events")
    assert reply.headers["content-type"].startswith("text/event-stream")
    told = events(reply.text)
    assert [kind for kind, _ in told] == ["progress"] * (len(told) - 1) + ["end"]
    assert (
        told[0][1]["status"] == "running"
        and told[0][1]["images"] == 0
        and told[-1][1] == client.get(f"{URL}/{name}").json()
    )
    assert told[-1][1]["status"] == "done" and told[-1][1]["summary"]["n"] == IMAGES
    assert [kind for kind, _ in events(client.get(f"{URL}/{name}/events").text)] == ["progress", "end"]


@pytest.mark.slow
def test_report_is_there_when_it_is_done(client: TestClient, gate: threading.Event) -> None:
    name = ask(client)
    early = client.get(f"{URL}/{name}/report")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "not_done")
    gate.set()
    wait_for(client, name, "done")
    report = client.get(f"{URL}/{name}/report")
    assert (
        report.status_code == 200
        and report.headers["content-type"].startswith("text/html")
        and "<!doctype html>" in report.text[:50].lower()
    )


def test_a_report_that_is_gone_is_410(client: TestClient, settings: Settings) -> None:
    name = ask(client, limit=1)
    wait_for(client, name, "done")
    run = settings.state_dir / "validations" / name / "run"
    ways: list[Callable[[], None]] = [(run / "report.html").unlink, (run / "report.html").mkdir]
    ways.append(lambda: shutil.rmtree(run))
    for spoil in ways:
        spoil()
        reply = client.get(f"{URL}/{name}/report")
        assert (reply.status_code, reply.json()["error"]["code"]) == (410, "gone")
    assert client.get(f"{URL}/{name}").json()["status"] == "done"


def test_a_report_is_sent_whole_whatever_ranges_are_asked_for(client: TestClient) -> None:
    name = ask(client, limit=1)
    wait_for(client, name, "done")
    whole = client.get(f"{URL}/{name}/report")
    for asked in ("bytes=0-9", "bytes=" + ",".join(["0-"] * 1000), "bytes=9-0", "bytes=999999999-", "lines=x", "?"):
        reply = client.get(f"{URL}/{name}/report", headers={"Range": asked})
        assert (reply.status_code, reply.content) == (200, whole.content)
        assert reply.headers["Accept-Ranges"] == "none"


@pytest.mark.slow
def test_the_jobs_that_finished_first_are_not_kept(classifier: Classifier, settings: Settings) -> None:
    few = settings.model_copy(update={"keep_validations": 2})
    folder = settings.state_dir / "validations"
    with serving(classifier, settings) as client:
        old = [ask(client, limit=1) for _ in range(4)]
        for name in old:
            wait_for(client, name, "done")
    with serving(classifier, few) as client:  # removes at the start
        assert [job["id"] for job in client.get(URL).json()] == old[:1:-1]
        new = ask(client, limit=1)
        wait_for(client, new, "done")
        wait_until(lambda: {path.name for path in folder.iterdir()} == {"lock", old[3], new})
        assert [job["id"] for job in client.get(URL).json()] == [new, old[3]]
        assert client.get(f"{URL}/{old[2]}/report").status_code == 404


@pytest.mark.slow
def test_unfinished_and_stopping_jobs_are_kept(
    classifier: Classifier, settings: Settings, gate: threading.Event
) -> None:
    with serving(classifier, settings.model_copy(update={"keep_validations": 1})) as client:
        names = [ask(client) for _ in range(5)]
        wait_for(client, names[0], "running")
        for name in names[2:4]:
            client.delete(f"{URL}/{name}")
        assert [job["id"] for job in client.get(URL).json()] == [names[4], names[3], names[1], names[0]]
        gate.set()
        wait_for(client, names[4], "done")
        wait_until(lambda: [job["id"] for job in client.get(URL).json()] == names[4:])


def wait_until(is_true: Callable[[], bool]) -> None:
    due = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < due
        time.sleep(0.01)


def test_jobs_are_listed_in_pages(client: TestClient, gate: threading.Event) -> None:
    names = [ask(client) for _ in range(5)][::-1]
    seen, page = [], "?limit=2"
    while page:
        reply = client.get(URL + page)
        seen.append([job["id"] for job in reply.json()])
        following = reply.links.get("next")
        page = following["url"] if following else ""
    assert seen == [names[:2], names[2:4], names[4:]]
    client.delete(f"{URL}/{names[1]}")
    client.delete(f"{URL}/{names[1]}")
    assert [job["id"] for job in client.get(f"{URL}?before={names[1]}").json()] == names[2:]  # it is gone
    assert len(client.get(URL).json()) == 4 and "link" not in client.get(URL).headers


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=x", "before=", "before=../../etc"])
def test_a_bad_page_is_422(idle: TestClient, query: str) -> None:
    assert idle.get(f"{URL}?{query}").status_code == 422


@pytest.mark.slow
def test_one_runs_at_a_time_in_order_of_creation(client: TestClient, gate: threading.Event) -> None:
    names = [ask(client, limit=limit) for limit in (4, 3, 2)]
    wait_for(client, names[0], "running")
    assert [job["id"] for job in client.get(URL).json()] == names[::-1]
    assert [job["status"] for job in client.get(URL).json()] == ["queued", "queued", "running"]
    gate.set()
    done = [wait_for(client, name, "done") for name in names]
    assert all(a["finished"] <= b["started"] for a, b in pairwise(done))


def test_requests_are_answered_while_a_job_runs(
    client: TestClient, gate: threading.Event, photographs: dict[str, Path]
) -> None:
    wait_for(client, ask(client), "running")
    assert client.post("/v1/predict", content=photographs["china"].read_bytes()).status_code == 200


@pytest.mark.slow
def test_cancelled_job_stops_and_the_next_one_runs(
    client: TestClient, gate: threading.Event, settings: Settings
) -> None:
    first, second, third = (ask(client) for _ in range(3))
    wait_for(client, first, "running")
    assert client.delete(f"{URL}/{second}").status_code == client.delete(f"{URL}/{first}").status_code == 204
    wait_for(client, third, "running")
    assert [job["status"] for job in client.get(URL).json()] == ["running", "cancelled", "cancelled"]
    kept = json.loads((settings.state_dir / "validations" / first / "job.json").read_text())
    assert kept["status"] == "cancelled" and kept["finished"]
    gate.set()
    wait_for(client, third, "done")


def test_cancelled_job_leaves_the_rest_of_its_chunk(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, goes_on = [], threading.Event()

    def held(data: bytes, contract: Contract) -> tuple[np.ndarray, ImageInfo]:
        decoded.append(len(data))
        goes_on.wait(30)
        return decode(data, contract)

    monkeypatch.setattr("tencrop.images.shared_array.decode", held)
    name = ask(client)
    due = time.monotonic() + 30
    while not decoded:
        assert time.monotonic() < due
        time.sleep(0.01)
    client.delete(f"{URL}/{name}")
    goes_on.set()
    due = time.monotonic() + 30
    while client.delete(f"{URL}/{name}").status_code == 409:  # the job is stopping
        assert time.monotonic() < due
        time.sleep(0.01)
    assert len(decoded) <= cores()


def test_finished_job_is_removed(client: TestClient, settings: Settings) -> None:
    name = ask(client, limit=1)
    wait_for(client, name, "done")
    due = time.monotonic() + 30
    while (reply := client.delete(f"{URL}/{name}")).status_code == 409:  # the job's thread is about to leave it
        assert reply.json()["error"]["code"] == "stopping" and time.monotonic() < due
        time.sleep(0.01)
    assert reply.status_code == 204
    for reply in (client.get(f"{URL}/{name}"), client.get(f"{URL}/{name}/report"), client.delete(f"{URL}/{name}")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert [path.name for path in (settings.state_dir / "validations").iterdir()] == ["lock"]


def test_a_cancel_that_comes_too_late_removes_nothing(client: TestClient) -> None:
    name = ask(client, limit=1)
    wait_for(client, name, "done")
    reply = client.delete(f"{URL}/{name}?cancel=true")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "finished")
    assert client.get(f"{URL}/{name}/report").status_code == 200


def test_cancelled_job_that_has_not_stopped_yet_is_not_removed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, going = threading.Event(), threading.Event()
    forward = Batcher.run_background

    def slow(self: Batcher, images: np.ndarray, stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        there.set()
        going.wait(10)
        return forward(self, images, stopped)

    monkeypatch.setattr(Batcher, "run_background", slow)
    name = ask(client)
    assert there.wait(10)  # a job that is only about to begin would stop at once
    assert client.delete(f"{URL}/{name}").status_code == 204
    assert (client.delete(f"{URL}/{name}").status_code, client.get(f"{URL}/{name}").json()["status"]) == (
        409,
        "cancelled",
    )
    going.set()
    due = time.monotonic() + 10
    while client.delete(f"{URL}/{name}").status_code != 204:
        assert time.monotonic() < due
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"dataset": "nowhere"}, "bad_dataset", "no such folder in the data root"),
        ({"dataset": "photos/pagoda/china00.jpg"}, "bad_dataset", "no such folder"),
        ({"dataset": "../outside"}, "bad_dataset", "not in the data root"),
        ({"dataset": "photos/../photos"}, "bad_dataset", "not in the data root"),
        ({"dataset": "out"}, "bad_dataset", "not in the data root"),
        ({"dataset": "circle"}, "bad_dataset", "dataset: "),
        ({"dataset": "/"}, "bad_dataset", "not in the data root"),
        ({"dataset": "a\0b"}, "bad_dataset", "no such folder"),
        ({"dataset": "a" * 1000}, "bad_dataset", "no such folder"),
        ({"dataset": "\ud800"}, "bad_parameter", "JSON"),
        ({"dataset": "a" * 2000}, "bad_parameter", "dataset"),
        ({"dataset": ""}, "bad_parameter", "dataset"),
        ({"dataset": 7}, "bad_parameter", "dataset"),
        ({}, "bad_parameter", "dataset"),
        ([], "bad_parameter", "object"),
        ({"dataset": "photos", "model": "other"}, "unknown_model", "caltech101"),
        ({"dataset": "photos", "limit": 0}, "bad_parameter", "limit"),
        ({"dataset": "photos", "limit": True}, "bad_parameter", "limit"),
        ({"dataset": "photos", "limit": 10**400}, "bad_parameter", "limit"),
        ({"dataset": "photos", "holdout": 1.1}, "bad_parameter", "holdout"),
        ({"dataset": "photos", "holdout": True}, "bad_parameter", "holdout"),
        ({"dataset": "photos", "holdout": float("nan")}, "bad_parameter", "holdout"),
        ({"dataset": "photos", "resume": True}, "bad_parameter", "unknown key 'resume'"),
        ({"datset": "photos"}, "bad_parameter", "unknown key 'datset'; the nearest known name is 'dataset'"),
    ],
)
def test_bad_request_is_422_and_makes_no_job(body: Any, code: str, says: str, idle: TestClient) -> None:
    reply = idle.post(URL, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, code), reply.text
    assert says in reply.json()["error"]["message"]
    assert idle.get(URL).json() == []


@pytest.mark.parametrize("dataset", ["photos", "photos/pagoda", "alias", "."])
def test_a_data_set_that_holds_the_state_directory_is_422(
    classifier: Classifier, tmp_path: Path, photographs: dict[str, Path], dataset: str
) -> None:
    write_crops(tmp_path / "photos", photographs, IMAGES)
    (tmp_path / "alias").symlink_to("photos")
    with serving(classifier, Settings(data_root=tmp_path, state_dir=tmp_path / "photos/pagoda/state")) as client:
        reply = client.post(URL, json={"dataset": dataset})
        assert (reply.status_code, client.get(URL).json()) == (422, [])
    assert "holds the state directory" in reply.json()["error"]["message"]


def test_absolute_path_is_refused_even_inside_the_root(idle: TestClient, root: Path) -> None:
    assert idle.post(URL, json={"dataset": str(root / "photos")}).status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 60_000, b'{"dataset": ' + b"9" * 5000 + b"}"])
def test_damaged_json_is_an_error_object(body: bytes, idle: TestClient) -> None:
    reply = idle.post(URL, content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422) and reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("dataset", "error"),
    [("other", "other: class 'unheard-of' is none of the model's (0 of 1 classes match; "), ("empty", "empty: ")],
)
def test_a_bad_data_set_fails_the_job_when_it_starts(dataset: str, error: str, client: TestClient, root: Path) -> None:
    job = wait_for(client, ask(client, dataset), "failed")
    assert (
        job["error"].startswith(error)
        and str(root) not in job["error"]
        and "\n" not in job["error"]
        and "--" not in job["error"]
    )
    assert job["finished"] and job["summary"] is None


@pytest.mark.parametrize("name", [b"raw\xff\x1b[2J", "bidi\u202e".encode()])
def test_a_folder_of_any_name_fails_the_job_alone(client: TestClient, root: Path, name: bytes) -> None:
    folder = os.fsencode(root / "hostile") + name
    os.makedirs(folder + b"/" + name)
    Image.new("RGB", (300, 300)).save(os.fsdecode(folder + b"/" + name + b"/a.png"))
    data = root / "alias"
    data.symlink_to(os.fsdecode(folder))
    try:
        job = wait_for(client, ask(client, "alias"), "failed")
        assert job["error"] and escape_text(job["error"]) == job["error"]
        wait_for(client, ask(client, limit=1), "done")  # the thread of the jobs lives on
    finally:
        data.unlink()


def test_a_class_with_a_semicolon_is_named_in_full(client: TestClient, root: Path) -> None:
    """A message is never cut at "; ": its advice is kept apart from the start."""
    (root / "spices" / "salt; pepper").mkdir(parents=True)
    Image.new("RGB", (300, 300)).save(root / "spices" / "salt; pepper" / "a.png")
    job = wait_for(client, ask(client, "spices"), "failed")
    assert job["error"].startswith("spices: class 'salt; pepper' is none of the model's (0 of 1 classes match; the")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BadInput("/data/a; b: no image", "choose another --data-root"), "a; b: no image"),
        (WorkFailed("/state: full\n disk", "free some of /state"), ".: full disk"),
        (OSError(28, "No space left on device", "/state/x"), "No space left on device"),
        (OSError("no number"), "no number"),
        (ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_dataset", "dataset: gone"), "dataset: gone"),
    ],
)
def test_a_jobs_message_has_no_advice_and_no_path_of_the_server(error: Exception, message: str) -> None:
    assert public_message(error, Path("/data"), Path("/state")) == message


def test_full_disk_fails_the_job_and_the_server_lives(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch, photographs: dict[str, Path]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part_file, "write_records", full)
    job = wait_for(client, ask(client), "failed")
    assert job["error"] == f"{job['id']}/run: cannot be written (No space left on device)"
    monkeypatch.setattr("tencrop.server.job_store.write_atomic", full)
    reply = client.post(URL, json={"dataset": "photos"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "cannot_be_kept")
    assert client.post("/v1/predict", content=photographs["china"].read_bytes()).status_code == 200
    assert len(client.get(URL).json()) == 1 and len(list((settings.state_dir / "validations").iterdir())) == 2


def test_engine_that_breaks_fails_the_job_without_a_traceback(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "forward", lambda *_: 1 / 0)
    assert wait_for(client, ask(client), "failed")["error"] == "the server failed; its log says why"
    monkeypatch.undo()
    wait_for(client, ask(client, limit=1), "done")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_engine_whose_thread_has_died_fails_its_jobs(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "forward", lambda *_: sys.exit())  # ends the thread
    for _ in range(2):
        assert wait_for(client, ask(client), "failed")["error"] == "the engine has stopped"


def test_body_without_end_is_413(idle: TestClient) -> None:
    reply = idle.post(URL, content=(b" " * (1 << 20) for _ in range(40)), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


def test_a_small_document_is_enough(idle: TestClient) -> None:
    """The server stops reading at the bound, and finds the first unknown key of many."""
    headers = {"Content-Type": "application/json"}
    keys = b"".join(b',"%x":0' % i for i in range(5_000))
    reply = idle.post(URL, content=b'{"dataset":"photos"' + keys + b"}", headers=headers)
    assert (reply.status_code, reply.json()["error"]["message"].partition(";")[0]) == (422, "unknown key '0'")
    body = b'{"dataset":"photos"' + b" " * MAX_SMALL_JSON + b"}"
    reply = idle.post(URL, content=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
    assert idle.get(URL).json() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_document_that_is_not_sent_as_json_is_415(idle: TestClient, kind: str) -> None:
    reply = idle.post(URL, content=b'{"dataset":"photos"}', headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_format")


def test_too_many_unfinished_are_429(
    client: TestClient, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_file, "MAX_UNFINISHED", 2)
    ask(client)
    ask(client)
    assert client.post(URL, json={"dataset": "photos"}).json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize("name", ["0" * 24, "lock", "..%2f..%2fetc", "%00", "A" * 5000])
def test_unknown_id_is_404(name: str, idle: TestClient) -> None:
    calls = [idle.get(f"{URL}/{name}{more}") for more in ("", "/events", "/report")] + [idle.delete(f"{URL}/{name}")]
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in calls} == {(404, "not_found")}


def test_without_a_data_root_validations_are_off(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(classifier, Settings()) as client:
        for reply in (
            client.post(URL, json={"dataset": "photos"}),
            client.get(URL),
            client.get(f"{URL}/x"),
            client.delete(f"{URL}/x"),
        ):
            assert reply.status_code == 404
            assert reply.json()["error"]["message"] == "validations are off: the server has no data root"
    assert list(tmp_path.iterdir()) == []


def test_the_switch_is_looked_at_before_the_body(classifier: Classifier, tmp_path: Path) -> None:
    """TestClient hands out pieces of a body only as the application asks for them."""

    def pieces() -> Iterator[bytes]:
        asked.append(1)
        yield b"["

    asked: list[int] = []
    app = create_app([classifier], Settings())
    with TestClient(app) as client:
        assert client.post(URL, content=pieces(), headers={"Content-Type": "application/json"}).status_code == 404
    assert asked == []


@pytest.mark.slow
def test_a_job_continues_after_a_restart(
    classifier: Classifier, settings: Settings, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, allowed = Batcher.run_background, 2  # the second lets the first chunk be counted

    def some(self: Batcher, images: np.ndarray, stopped: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        nonlocal allowed
        while allowed == 0:
            time.sleep(0.01)
            if stopped():
                raise Stopped("stopped")
        allowed -= 1
        return forward(self, images, stopped)

    monkeypatch.setattr(Batcher, "run_background", some)
    with serving(classifier, settings) as client:
        first, second = ask(client), ask(client, limit=3)
        while client.get(f"{URL}/{first}").json()["images"] < 4:
            time.sleep(0.01)
    kept = [
        json.loads((settings.state_dir / "validations" / name / "job.json").read_text()) for name in (first, second)
    ]
    assert [(job["status"], job["images"]) for job in kept] == [("running", 4), ("queued", 0)]
    monkeypatch.setattr(Batcher, "run_background", forward)
    with serving(classifier, settings) as client:
        done = [wait_for(client, name, "done") for name in (first, second)]
        assert done[0]["finished"] <= done[1]["started"] and done[0]["created"] == kept[0]["created"].replace(
            "+00:00", "Z"
        )
    assert_same_validation(
        settings.state_dir / "validations" / first / "run", direct(root, classifier, tmp_path / "direct")
    )
    with serving(classifier, settings) as client:
        assert [client.get(f"{URL}/{job['id']}").json() for job in done] == done


def test_a_server_starts_with_the_folders_that_a_kill_left(classifier: Classifier, settings: Settings) -> None:
    job = Validation(
        id="1" * 24, dataset="photos", model="caltech101", limit=1, status="running", created=datetime.now(UTC)
    )
    folder = settings.state_dir / "validations"
    for path in (f"{job.id}/run", "2" * 24, f"{'3' * 24}.gone/run"):  # the run not begun; no job.json; half removed
        (folder / path).mkdir(parents=True)
    (folder / job.id / "job.json").write_text(job.model_dump_json())
    with serving(classifier, settings) as client:
        wait_for(client, job.id, "done")
        assert len(client.get(URL).json()) == 1
    assert sorted(path.name for path in folder.iterdir()) == [job.id, "2" * 24, "lock"]


def test_job_of_an_older_version_continues(classifier: Classifier, settings: Settings) -> None:
    job = Validation(
        id="1" * 24, dataset="photos", model="caltech101", limit=1, status="queued", created=datetime.now(UTC)
    )
    (settings.state_dir / "validations" / job.id).mkdir(parents=True)
    (settings.state_dir / "validations" / job.id / "job.json").write_text(job.model_dump_json(exclude={"holdout"}))
    with serving(classifier, settings) as client:
        assert wait_for(client, job.id, "done")["summary"]["images"] == "all"


def test_job_whose_model_is_no_longer_served_fails(classifier: Classifier, settings: Settings) -> None:
    job = Validation(id="1" * 24, dataset="photos", model="gone", limit=1, status="queued", created=datetime.now(UTC))
    (settings.state_dir / "validations" / job.id).mkdir(parents=True)
    (settings.state_dir / "validations" / job.id / "job.json").write_text(job.model_dump_json())
    with serving(classifier, settings) as client:
        assert wait_for(client, job.id, "failed")["error"] == "no model 'gone'"


def test_draining_server_takes_no_job(client: TestClient) -> None:
    client.app.state.server_state.draining = True  # type: ignore[attr-defined]
    assert client.post(URL, json={"dataset": "photos"}).status_code == 503


def test_folders_that_cannot_be_used_are_refused(
    classifier: Classifier, settings: Settings, client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for bad, says in (
        (settings, "another server uses it"),
        (settings.model_copy(update={"data_root": tmp_path / "none"}), "no such folder"),
        (settings.model_copy(update={"state_dir": tmp_path / "file"}), "cannot be used"),
    ):
        with pytest.raises(BadInput, match=says):
            create_app([classifier], bad)


def test_state_on_a_file_system_without_locks_is_refused(
    classifier: Classifier, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(BadInput, match=r"--state-dir .* cannot be used \(No locks available\)"):
        create_app([classifier], settings)


def test_empty_folder_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="data_root"):
        read_settings(data_root="")
    monkeypatch.setenv("TENCROP_DATA_ROOT", "/srv/data")
    assert read_settings().data_root == Path("/srv/data")


@pytest.mark.slow
def test_event_streams_are_limited_and_those_that_end_free_their_place(
    client: TestClient, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream looks at its job four times a second: 900 of them kept the event loop for 20 s."""
    monkeypatch.setattr(validations, "MAX_STREAMS", 2)
    name = ask(client)
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(client.get, f"{URL}/{name}/events") for _ in range(2)]
        wait_until(lambda: client.app.state.server_state.event_streams.total() == 2)  # type: ignore[attr-defined]
        refused = client.get(f"{URL}/{name}/events")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"]
        gate.set()
        assert [stream.result().status_code for stream in streams] == [200, 200]
    assert client.get(f"{URL}/{name}/events").status_code == 200
    assert client.app.state.server_state.event_streams.total() == 0  # type: ignore[attr-defined]


def followed(*looks: Validation, gone_after: int = 1000, drains_after: int = 1000) -> list[str]:
    asked = iter(range(1000))

    async def gone() -> bool:
        return next(asked) >= gone_after

    async def collect() -> list[str]:
        turns = iter([*looks, *[looks[-1]] * 1000])
        passed = iter(range(1000))
        return [
            event async for event in validations.follow(lambda: next(turns), gone, lambda: next(passed) >= drains_after)
        ]

    return asyncio.run(collect())


def test_a_stream_ends_when_the_client_leaves_or_the_server_drains_and_sends_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validations, "TICK", 0.001)
    monkeypatch.setattr(validations, "HEARTBEAT", 0.0095)
    job = Validation(id="1" * 24, dataset="photos", model="m", limit=None, status="running", created=datetime.now(UTC))
    for told in (followed(job, gone_after=25), followed(job, drains_after=25)):
        assert [text[:16] for text in told] == ["event: progress\n", ": still here\n\n", ": still here\n\n"]
    more = followed(job, job, job.model_copy(update={"images": 4}), job.model_copy(update={"status": "cancelled"}))
    assert [text.split("\n")[0] for text in more] == ["event: progress"] * 3 + ["event: end"]
