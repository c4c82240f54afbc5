"""A validation over HTTP outlives its server: after kills or SIGTERM and a new start it is the undisturbed run."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import read_address
from support.crops import assert_same_validation, write_crops

ROOT = Path(__file__).parent.parent
IMAGES = 48  # in chunks of 4
KILLS = 5

# `tencrop ARGUMENTS` with small chunks, each of which takes a moment.
CHILD = """
import sys, time
import tencrop.evaluation.part_file as part_file
import tencrop.evaluation.plan as plan
from tencrop import cli

plan.CHUNK = 4
write = part_file.write_records
part_file.write_records = lambda *given: (time.sleep({seconds}), write(*given))
sys.argv[0] = "tencrop"
cli.main()
"""


@pytest.fixture(scope="module")
def root(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with crops of the two photographs under two of the model's classes; one crop is broken."""
    root = tmp_path_factory.mktemp("data")
    write_crops(root / "photos", photographs, IMAGES)
    return root


def command(*arguments: str, seconds: float = 0) -> list[str]:
    return [sys.executable, "-c", CHILD.replace("{seconds}", str(seconds)), *arguments, "--precision", "fp32"]


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `tencrop evaluate`, without a server."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(
        command("evaluate", str(root / "photos"), "--out", str(out)),
        cwd=ROOT,
        check=True,
        timeout=120,
        capture_output=True,
    )
    return out


@contextmanager
def serving(
    root: Path, state: Path, seconds: float = 0, workers: int = 0
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    arguments = ("serve", "--port", "0", "--data-root", str(root), "--state-dir", str(state), "--workers", str(workers))
    with subprocess.Popen(command(*arguments, seconds=seconds), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"{read_address(process)}/v1/validations"
        finally:
            process.kill()


def call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60
    ) as reply:
        return json.load(reply)


def wait_for(url: str, images: int) -> None:
    due = time.monotonic() + 60
    while call(url)["images"] < images:
        assert time.monotonic() < due
        time.sleep(0.02)


def last_event(url: str) -> tuple[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/events", timeout=60) as reply:
        *_, last = reply.read().decode().strip().split("\n\n")
    kind, data = last.split("\n")
    return kind, json.loads(data.removeprefix("data: "))


def assert_finished_as(undisturbed: Path, root: Path, state: Path, name: str) -> None:
    """Start the server once more and follow the job to its end."""
    with serving(root, state) as (process, url):
        kind, job = last_event(f"{url}/{name}")
        assert (kind, job["status"], job["error"]) == ("event: end", "done", None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert_same_validation(state / "validations" / name / "run", undisturbed)


@pytest.mark.slow
def test_a_job_killed_again_and_again_equals_the_undisturbed_run(root: Path, undisturbed: Path, tmp_path: Path) -> None:
    name = ""
    for kill in range(KILLS):
        with serving(root, tmp_path, seconds=0.1) as (process, url):
            name = name or call(url, {"dataset": "photos"})["id"]
            if kill:  # the first kill comes at once, before or while the run's folder is locked
                wait_for(f"{url}/{name}", 8 * kill)
            process.kill()
            process.wait()
    assert json.loads((tmp_path / "validations" / name / "job.json").read_text())["status"] == "running"
    assert_finished_as(undisturbed, root, tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_ends_streams_and_exits_0_and_the_job_continues(
    root: Path, undisturbed: Path, tmp_path: Path, workers: int
) -> None:
    with serving(root, tmp_path, 0.1, workers) as (process, url):
        first, second = (call(url, {"dataset": "photos"})["id"] for _ in range(2))
        wait_for(f"{url}/{first}", 8)
        with urllib.request.urlopen(f"{url}/{second}/events", timeout=60) as stream:
            assert stream.readline() == b"event: progress\n"
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert b"event: end" not in stream.read()  # to its end
        assert process.wait(timeout=30) == 0 and time.monotonic() - told < 5
    kept = [json.loads((tmp_path / "validations" / name / "job.json").read_text()) for name in (first, second)]
    assert [job["status"] for job in kept] == ["running", "queued"] and 8 <= kept[0]["images"] < IMAGES
    assert_finished_as(undisturbed, root, tmp_path, second)
    assert_finished_as(undisturbed, root, tmp_path, first)


@pytest.mark.slow
def test_a_missing_folder_is_one_line() -> None:
    result = subprocess.run(
        command("serve", "--port", "0", "--data-root", "no-such-folder"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (2, "tencrop: --data-root no-such-folder: no such folder\n")
