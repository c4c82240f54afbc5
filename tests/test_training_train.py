"""training/train.py: a thin net learns, stops, resumes bit for bit; an impossible resume is refused."""

import hashlib
import math
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_recipe import OVERRIDES, TIMES, assert_equal, ignore_progress, load_last
from torch._inductor.exc import InductorError, InvalidCxxCompiler

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training import train as train_module
from tencrop.training.recipe import Event, Recipe, load
from tencrop.training.run_folder import KEEP
from tencrop.training.train import FLAT, FLAT_AFTER, train
from tencrop.training.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("process_left_alone")]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("caltech101", OVERRIDES)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report each of an epoch's three steps."""
    monkeypatch.setattr("tencrop.training.trainer.REPORT", 1)


@pytest.fixture(scope="module")
def finished(tiny_prepared: PreparedStore, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never interrupted."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(train_module, "keep_freed_memory", lambda: None)
        train(recipe, tiny_prepared, out, False, 0, ignore_progress)
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished run once more, for a test that may change it."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def flat_epochs(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The epochs that a warning calls flat."""
    return [
        int(record.getMessage().split()[1].rstrip(":"))
        for record in caplog.records
        if "that of guessing" in record.getMessage()
    ]


def test_the_loss_falls_and_is_not_called_flat_then(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = train(replace(recipe, epochs=10, events=()), tiny_prepared, tmp_path, False, 0, ignore_progress)
    losses = [record.train_loss for record in history]
    assert losses[0] > math.log(3) > 2 * losses[-1]  # ln 3 is the loss of guessing
    assert history[-1].train_error < 0.3
    assert history[-1].center_top1_error < 0.3
    assert flat_epochs(caplog) == [
        epoch for epoch, loss in enumerate(losses, 1) if epoch >= FLAT_AFTER and loss > FLAT * math.log(3)
    ]
    assert 10 not in flat_epochs(caplog)


@pytest.mark.parametrize(("init_std", "advised"), [(0.01, True), (0.03, False)])
def test_a_loss_that_stays_at_ln_c_is_a_warning_with_advice_that_the_recipe_does_not_follow_yet(
    tiny_prepared: PreparedStore,
    recipe: Recipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    init_std: float,
    advised: bool,
) -> None:
    optim = replace(recipe.optim, lr=0.0, bias_lr=0.0)
    convs = {name: replace(getattr(recipe.net, name), init_std=init_std) for name in ("conv3", "conv4", "conv5")}
    net = replace(recipe.net, fc8=replace(recipe.net.fc8, init_std=1e-6), **convs)
    train(replace(recipe, epochs=3, net=net, optim=optim), tiny_prepared, tmp_path, False, 0, ignore_progress)
    assert flat_epochs(caplog) == [2, 3]
    assert "1.10 is still that of guessing (ln 3 = 1.10)" in caplog.messages[0]
    assert all(hint in caplog.messages[0] for hint in ("optim.lr", "labels"))
    assert ("init_std" in caplog.messages[0]) is advised


def test_a_run_folder_holds_recipe_metrics_pictures_and_checkpoints(finished: Path, recipe: Recipe) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"recipe.toml", "metrics.csv", "curves.png", "conv1.png", "checkpoint-0003", "checkpoint-0004"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert load(str(finished / "recipe.toml")) == recipe
    assert len((finished / "metrics.csv").read_text().splitlines()) == 1 + 4


def test_the_history_holds_each_epochs_rate_and_errors(finished: Path) -> None:
    history = load_last(finished).progress["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert [row["lr"] for row in history] == pytest.approx([0.003, 0.0015, 0.0015, 0.0003])
    for row in history:
        assert 0 <= row["center_top5_error"] <= row["center_top1_error"] <= 1
        assert 0 <= row["train_error"] <= 1
        assert all(row[name] > 0 for name in TIMES)


def test_the_checkpoint_has_the_data_sets_classes_and_contract(finished: Path, tiny_prepared: PreparedStore) -> None:
    saved = load_last(finished)
    assert saved.net.fc8.units == 3
    assert saved.contract == tiny_prepared.contract
    np.testing.assert_array_equal(saved.mean, tiny_prepared.statistics.mean)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(("at", "workers"), [((1, 2 / 3), 0), ((2, 1 / 3), 1), ((4, 1.0), 0)])
def test_an_interrupted_run_resumed_equals_an_uninterrupted_run(
    finished: Path,
    tiny_prepared: PreparedStore,
    recipe: Recipe,
    tmp_path: Path,
    every_step: None,
    at: tuple[int, float],
    workers: int,
) -> None:
    def interrupt(epoch: int, share: float, shown: Mapping[str, float]) -> None:
        if (epoch, share) == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(recipe, tiny_prepared, tmp_path, False, workers, interrupt)
    assert len(list_checkpoints(tmp_path)) == min(at[0] - 1, KEEP)
    torch.manual_seed(12345)  # another process
    train(recipe, tiny_prepared, tmp_path, True, workers, ignore_progress)
    assert_equal(load_last(tmp_path), load_last(finished))


@pytest.mark.parametrize(
    ("heard", "saved", "message"),
    [
        ((1, 1 / 3), "checkpoint-0000+000002", "stopped in epoch 1 after 2 of 3 batches"),
        ((3, 1.0), "checkpoint-0003", "stopped after epoch 3"),
    ],
)
def test_a_stopped_run_resumed_equals_an_uninterrupted_run(
    finished: Path,
    tiny_prepared: PreparedStore,
    recipe: Recipe,
    tmp_path: Path,
    every_step: None,
    heard: tuple[int, float],
    saved: str,
    message: str,
) -> None:
    """A signal that comes in a report ends the run after the next step."""

    def ask(epoch: int, share: float, shown: Mapping[str, float]) -> None:
        if (epoch, share) == heard:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=message):
        train(recipe, tiny_prepared, tmp_path, False, 0, ask)
    assert list_checkpoints(tmp_path)[-1].name == saved
    torch.manual_seed(12345)
    train(recipe, tiny_prepared, tmp_path, True, 0, ignore_progress)
    assert_equal(load_last(tmp_path), load_last(finished))


def test_a_run_that_goes_on_from_an_older_checkpoint_equals_an_uninterrupted_run(
    finished: Path, copied: Path, tiny_prepared: PreparedStore, recipe: Recipe
) -> None:
    older, newest = list_checkpoints(copied)
    (newest / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=f"{newest}: damaged .* --resume-from {older}$"):
        train(recipe, tiny_prepared, copied, True, 0, ignore_progress)
    train(recipe, tiny_prepared, copied, False, 0, ignore_progress, resume_from=older)
    assert_equal(load_last(copied), load_last(finished))
    assert (copied / "metrics.csv").read_text().count("\n") == 1 + 4
    assert (copied / f"{newest.name}.aside1" / "weights.safetensors").read_bytes() == b""


def test_resuming_a_finished_run_changes_nothing(copied: Path, tiny_prepared: PreparedStore, recipe: Recipe) -> None:
    before = load_last(copied)
    history = train(recipe, tiny_prepared, copied, True, 0, ignore_progress)
    assert [asdict(record) for record in history] == before.progress["history"]
    assert all(np.array_equal(load_last(copied).weights[name], value) for name, value in before.weights.items())


def test_a_run_is_not_written_over(finished: Path, tiny_prepared: PreparedStore, recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="--resume"):
        train(recipe, tiny_prepared, finished, False, 0, ignore_progress)


def test_another_seed_is_another_run(
    finished: Path, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    train(replace(recipe, seed=1, epochs=1), tiny_prepared, tmp_path, False, 0, ignore_progress)
    first = load_last(finished).progress["history"][0]
    assert load_last(tmp_path).progress["history"][0]["train_loss"] != first["train_loss"]


def test_frozen_layers_stay_as_they_were(finished: Path) -> None:
    third, fourth = (Checkpoint.load(path).weights for path in list_checkpoints(finished))
    for name, value in third.items():
        assert np.array_equal(fourth[name], value) == name.startswith("conv1."), name


def test_progress_reports_the_first_step_every_tenth_after_it_and_the_last(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tencrop.training.trainer.PROMPT", 1e9)  # slow steps are reported more often
    heard: list[tuple[int, float]] = []
    shown: list[Mapping[str, float]] = []

    def progress(epoch: int, share: float, now: Mapping[str, float]) -> None:
        heard.append((epoch, share))
        shown.append(now)

    small = replace(recipe, epochs=1, optim=replace(recipe.optim, batch=2))  # 12 batches
    history = train(small, tiny_prepared, tmp_path, False, 0, progress)
    assert heard == [(1, 1 / 12), (1, 11 / 12), (1, 1.0)]
    assert shown[-1]["loss"] == history[0].train_loss  # the mean so far


def test_a_run_ends_at_the_training_error_of_its_recipe(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    """Like the runs of figure 1; here the first epoch is good enough."""
    history = train(replace(recipe, until_train_error=1.0), tiny_prepared, tmp_path, False, 0, ignore_progress)
    assert len(history) == len(list_checkpoints(tmp_path)) == 1


# ---- refusals


def test_resuming_with_another_net_is_bad_input_and_leaves_the_runs_recipe(
    copied: Path, tiny_prepared: PreparedStore, recipe: Recipe
) -> None:
    before = (copied / "recipe.toml").read_bytes()
    other = replace(recipe, net=replace(recipe.net, fc6=replace(recipe.net.fc6, units=65)))
    with pytest.raises(BadInput, match="--resume"):
        train(other, tiny_prepared, copied, True, 0, ignore_progress)
    assert (copied / "recipe.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "was", "now"),
    [
        ("optim.lr=0.5", 0.003, 0.5),
        ("optim.batch=4", 8, 4),
        ("seed=7", 0, 7),
        ("augment.noise=0.0", 0.1, 0.0),
        ("precision=bf16", "fp32", "bf16"),
        ("mean=center", "aligned", "center"),
    ],
)
def test_resuming_with_another_recipe_is_one_line_naming_the_key_and_both_values(
    copied: Path, tiny_prepared: PreparedStore, override: str, was: object, now: object
) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(BadInput) as caught:
        train(load("caltech101", [*OVERRIDES, override]), tiny_prepared, copied, True, 0, ignore_progress)
    key = override.partition("=")[0]
    assert str(caught.value).startswith(f"--resume: the run was started with {key} = {was}, now it is {now};")
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


def test_the_rest_of_a_schedule_may_change_at_a_resume(copied: Path, tiny_prepared: PreparedStore) -> None:
    changed = [
        *OVERRIDES,
        "epochs=5",
        "events=[{after = 4, divide = 30.0}]",
        "name=other",
        "plateau.patience=50",
        "expect=[]",
    ]
    history = train(load("caltech101", changed), tiny_prepared, copied, True, 0, ignore_progress)
    assert [record.lr for record in history][3:] == pytest.approx([0.0003, 0.0001])
    assert load(str(copied / "recipe.toml")).epochs == load_last(copied).recipe["epochs"] == 5
    train(load("caltech101", [*changed, "compile=true"]), tiny_prepared, copied, True, 0, ignore_progress)
    sessions = load_last(copied).progress["sessions"]
    assert [told["after_epoch"] for told in sessions] == [0, 4]
    assert sessions[0]["changed"] == {} and sessions[1]["changed"]["epochs"] == [4, 5]
    assert set(sessions[1]["changed"]) == {"epochs", "events", "name", "plateau"}
    assert all(
        told["torch"] == torch.__version__ and told["device"] and told["precision"] == "fp32" for told in sessions
    )


@pytest.mark.parametrize("change", ["events=[{after = 30, divide = 10.0}]", "events=[]"])
def test_a_schedule_that_would_raise_the_rate_is_not_resumed(
    copied: Path, tiny_prepared: PreparedStore, change: str
) -> None:
    """After 4 of 4 epochs the rate is a tenth; of 40 epochs the fifth is at the full one."""
    with pytest.raises(
        BadInput, match=r"--resume: epoch 5 would have a rate of 0\.003, the epoch before had 0\.0003: "
    ):
        train(load("caltech101", [*OVERRIDES, "epochs=40", change]), tiny_prepared, copied, True, 0, ignore_progress)


def test_changes_at_a_resume_are_printed(
    copied: Path, tiny_prepared: PreparedStore, caplog: pytest.LogCaptureFixture
) -> None:
    train(load("caltech101", [*OVERRIDES, "plateau.patience=50"]), tiny_prepared, copied, True, 0, ignore_progress)
    assert [record.getMessage().split(" is ")[0] for record in caplog.records] == ["--resume: plateau"]


def test_resuming_with_another_data_set_is_bad_input(
    copied: Path, tiny_folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for name, new in (("ant", "ant"), ("bee_hive", "wasp"), ("cat", "cat")):
        (tmp_path / "data" / new).symlink_to(tiny_folder / name)
    source = open_source(tmp_path / "data")
    prepare(source, tmp_path / "other", 0.2, lambda done: None)
    with pytest.raises(BadInput, match="--resume"):
        train(recipe, PreparedStore.open(tmp_path / "other"), copied, True, 0, ignore_progress)


def test_resuming_with_other_images_of_the_same_classes_is_bad_input(
    copied: Path, tiny_folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """The run would train on former validation images, with another mean."""
    prepare(open_source(tiny_folder), tmp_path / "other", 0.4, lambda done: None)
    with pytest.raises(BadInput, match=r"--resume: .* data set"):
        train(recipe, PreparedStore.open(tmp_path / "other"), copied, True, 0, ignore_progress)


def test_a_checkpoint_without_momentum_is_not_resumed(
    copied: Path, tiny_prepared: PreparedStore, recipe: Recipe
) -> None:
    for folder in list_checkpoints(copied):
        (folder / "training.safetensors").unlink()
    with pytest.raises(BadInput, match=r"checkpoint-0004: has no momentum.*--start"):
        train(replace(recipe, epochs=5), tiny_prepared, copied, True, 0, ignore_progress)


def test_a_data_set_without_validation_images_is_bad_input(tiny_folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    prepare(open_source(tiny_folder), tmp_path / "data", 0.0, lambda done: None)
    with pytest.raises(BadInput, match="no validation images"):
        train(recipe, PreparedStore.open(tmp_path / "data"), tmp_path / "run", False, 0, ignore_progress)
    assert not (tmp_path / "run").exists()


def test_a_data_set_without_training_images_is_bad_input(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    held = replace(tiny_prepared, validation=np.ones_like(tiny_prepared.validation))
    with pytest.raises(BadInput, match="no training images"):
        train(recipe, held, tmp_path / "run", False, 0, ignore_progress)


def test_a_loss_that_is_not_a_number_is_reported_when_the_losses_are_read_next(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    wild = replace(recipe, optim=replace(recipe.optim, batch=2, lr=1e20, bias_lr=1e20))
    with pytest.raises(
        WorkFailed, match=r"^epoch 1: the loss is (nan|inf) after \d+ batches; lower optim\.lr \(it is 1e\+20\)"
    ):
        train(wild, tiny_prepared, tmp_path, False, 0, ignore_progress)
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["net.input=300"], "net.input is 300, and images have 256 pixels a side"),
        (["net.layers=['conv1 relu', 'fc6']"], r"net.layers ends with fc6 of \(64,\), not with 3 classes"),
    ],
)
def test_a_net_that_could_not_be_exported_is_not_trained(
    tiny_prepared: PreparedStore, tmp_path: Path, overrides: list[str], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        train(load("caltech101", [*OVERRIDES, *overrides]), tiny_prepared, tmp_path, False, 0, ignore_progress)


def test_too_little_memory_is_one_line(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path, every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    def killed(*_: object) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    with pytest.raises(WorkFailed, match=r"^a worker process ended .* lower --workers, then --resume$"):
        train(recipe, tiny_prepared, tmp_path / "worker", False, 1, killed)
    monkeypatch.setattr(Trainer, "_step", full)
    with pytest.raises(WorkFailed, match=r"does not hold the training of 8 images at once; lower optim\.batch"):
        train(recipe, tiny_prepared, tmp_path / "device", False, 0, ignore_progress)


def test_a_missing_compiler_is_one_line(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise InductorError(InvalidCxxCompiler(), sys._getframe())

    monkeypatch.setattr(Trainer, "_step", no_compiler)
    with pytest.raises(
        WorkFailed, match=r"^torch\.compile failed \(.*No working C\+\+ compiler.*\); .* --set compile=false$"
    ):
        train(recipe, tiny_prepared, tmp_path, False, 0, ignore_progress)


def ranked(recipe: Recipe, start: str) -> Recipe:
    net = replace(recipe.net, fc6=replace(recipe.net.fc6, rank=5), fc7=replace(recipe.net.fc7, rank=5))
    return replace(
        recipe,
        net=net,
        start=start,
        events=(Event(0, frozen=("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")),),
    )


def test_low_rank_layers_need_a_trained_net(tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--start CHECKPOINT"):
        train(ranked(recipe, ""), tiny_prepared, tmp_path, False, 0, ignore_progress)


def test_fine_tuning_starts_from_the_trained_net_factorised(
    finished: Path, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    start = list_checkpoints(finished)[-1]
    train(replace(ranked(recipe, str(start)), epochs=1), tiny_prepared, tmp_path, False, 0, ignore_progress)
    tuned, trained = load_last(tmp_path).weights, Checkpoint.load(start).weights
    np.testing.assert_array_equal(tuned["conv3.weight"], trained["conv3.weight"])  # frozen
    assert (tuned["fc8.weight"] != trained["fc8.weight"]).any()
    for name in ("fc6", "fc7"):  # frozen too, so the product is the best of rank 5
        left, singular, right = np.linalg.svd(trained[f"{name}.weight"].astype(np.float64), full_matrices=False)
        best = (left[:, :5] * singular[:5]) @ right[:5]
        np.testing.assert_allclose(tuned[f"{name}.up.weight"] @ tuned[f"{name}.down.weight"], best, atol=1e-4)


@pytest.mark.parametrize("start", ["/nowhere/checkpoint-0001"])
def test_a_start_that_is_not_a_checkpoint_is_bad_input(
    tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path, start: str
) -> None:
    with pytest.raises(BadInput, match=start):
        train(replace(recipe, start=start), tiny_prepared, tmp_path, False, 0, ignore_progress)


def test_a_checkpoint_names_its_start_by_hash_and_not_by_path(
    finished: Path, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    start = list_checkpoints(finished)[-1]
    train(replace(recipe, start=str(start), epochs=1), tiny_prepared, tmp_path, False, 0, ignore_progress)
    digest = hashlib.sha256((start / "weights.safetensors").read_bytes()).hexdigest()
    assert load_last(tmp_path).recipe["start"] == digest
    assert str(finished) not in (list_checkpoints(tmp_path)[-1] / "checkpoint.json").read_text()


def test_a_rank_above_that_of_the_starts_matrix_is_bad_input(
    finished: Path, tiny_prepared: PreparedStore, recipe: Recipe, tmp_path: Path
) -> None:
    fc6 = replace(recipe.net.fc6, rank=65)
    with pytest.raises(BadInput, match=r"net\.fc6\.rank is 65"):
        train(
            replace(recipe, net=replace(recipe.net, fc6=fc6), start=str(list_checkpoints(finished)[-1])),
            tiny_prepared,
            tmp_path,
            False,
            0,
            ignore_progress,
        )
