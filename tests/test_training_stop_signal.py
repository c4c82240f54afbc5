"""training/stop_signal.py: real processes are killed, stopped and run out of disk, then resume bit for bit."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from support.tiny_recipe import OVERRIDES, assert_equal, drop_times, ignore_progress, load_last

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training import train as train_module
from tencrop.training.recipe import Recipe, load
from tencrop.training.stop_signal import SIGNALS, Stop
from tencrop.training.train import train

ROOT = Path(__file__).parent.parent

# Runs `tencrop ARGUMENTS` with a misfortune. Step 5 is the second of epoch 2's three. A checkpoint is two files, the
# weights first.
CHILD = """
import os, resource, signal, sys
import tencrop.model.checkpoint
from tencrop import cli
from safetensors.numpy import save_file
from tencrop.training.trainer import Trainer

def before(place, name, number, act):
    calls, original = [], getattr(place, name)
    def wrapped(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            act(*arguments)
        return original(*arguments)
    setattr(place, name, wrapped)

def send(number):
    return lambda *_: os.kill(os.getpid(), number)

def half_written(tensors, path):
    save_file(tensors, path)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

def full(tensors, path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

{misfortune}
sys.argv[0] = "tencrop"
cli.main()
"""
KILLED = "before(Trainer, '_step', 5, send(signal.SIGKILL))"
BROKEN = "before(Trainer, '_step', 5, lambda *_: 1 / 0)"
KILLED_WHILE_SAVING = "before(tencrop.model.checkpoint, 'save_file', 3, half_written)"
DISK_FULL = "before(tencrop.model.checkpoint, 'save_file', 3, full)"
STOPPED = "before(Trainer, '_step', 5, send(signal.SIGTERM))"
STOPPED_TWICE = STOPPED + "; before(tencrop.model.checkpoint, 'save_file', 3, send(signal.SIGTERM))"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("caltech101", [*OVERRIDES, "epochs=3"])


@pytest.fixture(autouse=True)
def _allocator_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "keep_freed_memory", lambda: None)


@pytest.fixture(scope="module")
def undisturbed(tiny_prepared: PreparedStore, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(train_module, "keep_freed_memory", lambda: None)
        train(recipe, tiny_prepared, out, False, 0, ignore_progress)
    return load_last(out)


def train_in_a_process(
    prepared: PreparedStore, out: Path, misfortune: str, *more: str, workers: int = 0
) -> "subprocess.CompletedProcess[str]":
    settings = [argument for override in [*OVERRIDES, "epochs=3"] for argument in ("--set", override)]
    arguments = [
        "train",
        "caltech101",
        "--data",
        str(prepared.root),
        "--out",
        str(out),
        "--workers",
        str(workers),
        *settings,
        *more,
    ]
    command = [sys.executable, "-c", CHILD.replace("{misfortune}", misfortune), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def resumed(recipe: Recipe, prepared: PreparedStore, out: Path) -> Checkpoint:
    """Resume in another process than the interrupted one: this one."""
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        train(recipe, prepared, out, True, 0, ignore_progress)
    return load_last(out)


def names(out: Path) -> list[str]:
    return [path.name for path in list_checkpoints(out)]


def complaint(ended: "subprocess.CompletedProcess[str]") -> str:
    """The only line beside those of the epochs and the answer to a signal."""
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith(("epoch ", "SIG"))]
    return line


@pytest.mark.slow
def test_a_run_killed_in_an_epoch_resumes_bit_for_bit(
    undisturbed: Checkpoint, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    assert train_in_a_process(tiny_prepared, tmp_path, KILLED).returncode == -signal.SIGKILL
    assert names(tmp_path) == ["checkpoint-0001"]
    assert_equal(resumed(recipe, tiny_prepared, tmp_path), undisturbed)


@pytest.mark.slow
def test_a_run_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(
    undisturbed: Checkpoint, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    assert train_in_a_process(tiny_prepared, tmp_path, KILLED_WHILE_SAVING).returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint-0002.partial" / "weights.safetensors").is_file()
    assert names(tmp_path) == ["checkpoint-0001"]
    with pytest.raises(BadInput):
        Checkpoint.load(tmp_path / "checkpoint-0002.partial")
    assert_equal(resumed(recipe, tiny_prepared, tmp_path), undisturbed)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize(("misfortune", "code"), [(STOPPED, 143), (STOPPED.replace("SIGTERM", "SIGINT"), 130)])
def test_a_stopped_run_saves_its_position_and_resumes_bit_for_bit(
    undisturbed: Checkpoint, tiny_prepared: PreparedStore, tmp_path: Path, misfortune: str, code: int
) -> None:
    """Its exit code is not 0, so the shell does not go on with an unfinished net."""
    ended = train_in_a_process(tiny_prepared, tmp_path, misfortune)
    assert ended.returncode == code
    assert (
        f"{signal.Signals(code - 128).name}: the training is saved after this batch; a second one ends" in ended.stderr
    )
    assert (
        complaint(ended)
        == "tencrop: stopped in epoch 2 after 2 of 3 batches; what was done is saved: go on with --resume"
    )
    assert names(tmp_path) == ["checkpoint-0001", "checkpoint-0001+000002"]
    ended = train_in_a_process(tiny_prepared, tmp_path, "", "--resume")
    assert (ended.returncode, "3 epochs" in ended.stdout) == (0, True)
    assert_equal(load_last(tmp_path), undisturbed)  # train_loss of the epoch in two parts too


@pytest.mark.slow
@pytest.mark.parametrize(("misfortune", "code"), [(KILLED, -signal.SIGKILL), (BROKEN, 1)])
def test_the_loaders_workers_end_with_the_training_however_it_ends(
    tiny_prepared: PreparedStore, tmp_path: Path, misfortune: str, code: int
) -> None:
    """Workers hold the training's stderr open, so its reader would wait for as long as one of them lives."""
    assert train_in_a_process(tiny_prepared, tmp_path, misfortune, workers=1).returncode == code


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays_good(
    undisturbed: Checkpoint, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    ended = train_in_a_process(tiny_prepared, tmp_path, DISK_FULL)
    assert ended.returncode == 1
    line = complaint(ended)
    assert line.startswith("tencrop: ") and "checkpoint-0002" in line and "File too large" in line
    assert names(tmp_path) == ["checkpoint-0001"]
    assert drop_times(load_last(tmp_path)) == drop_times(undisturbed)[:1]
    assert_equal(resumed(recipe, tiny_prepared, tmp_path), undisturbed)


@pytest.mark.slow
def test_a_second_signal_ends_a_run_at_once(
    undisturbed: Checkpoint, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    assert train_in_a_process(tiny_prepared, tmp_path, STOPPED_TWICE).returncode == -signal.SIGTERM
    assert names(tmp_path) == ["checkpoint-0001"]  # it was saving when the second one came
    assert_equal(resumed(recipe, tiny_prepared, tmp_path), undisturbed)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_request_and_gives_the_next_one_its_old_meaning(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with Stop() as stop:
        heard = [stop.requested]
        signal.raise_signal(number)
        assert [*heard, stop.requested, stop.number] == [False, True, number]
        assert [signal.getsignal(each) for each in SIGNALS] == before
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_the_first_signal_is_answered_at_once_by_one_process(caplog: pytest.LogCaptureFixture) -> None:
    for speaks in (False, True):
        with Stop(speaks):
            assert not caplog.messages
            signal.raise_signal(signal.SIGTERM)
    said = "SIGTERM: the training is saved after this batch; a second one ends the training at once"
    assert caplog.messages == [said]


def test_under_torchrun_which_repeats_signals_a_second_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that stops all processes, as Slurm's, reaches each of them twice: by itself and by torchrun."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    before = [signal.getsignal(each) for each in SIGNALS]
    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_without_a_signal_the_old_handlers_come_back() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with Stop():
        assert [signal.getsignal(each) for each in SIGNALS] != before
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_thread_that_gets_no_signals_may_train() -> None:
    heard: list[bool] = []

    def work() -> None:
        with Stop() as stop:
            heard.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
