"""training/loop.py: a thin net on a tiny data set learns, validates as it should, and resumes bit for bit."""

import hashlib
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch

from dataset.layouts import open_folder
from dataset.prepared import Prepared, prepare
from model.checkpoint import Checkpoint
from model.contract import Label
from model.errors import BadInput, WorkFailed
from model.net import AlexNet
from model.views import TenCropNet
from training import loop
from training.loader import Loader
from training.loop import Training, train
from training.recipe import Event, Recipe, load
from training.record import Run
from training.schedule import Phase

OVERRIDES = [
    "compile=false",
    "precision=fp32",
    "optim.batch=8",
    "optim.lr=0.003",
    "optim.bias_lr=0.003",
    "net.dropout.p=0.2",
    "epochs=4",
    "events=[{after = 1, divide = 2.0}, {after = 3, divide = 5.0, noise = false, frozen = ['conv1']}]",
    *(f"net.conv{i}.channels={channels}" for i, channels in ((1, 8), (2, 16), (3, 16), (4, 16), (5, 16))),
    *(f"net.conv{i}.init_std=0.08" for i in (2, 3, 4, 5)),
    *(f"net.fc{i}.units=64" for i in (6, 7)),
    *(f"net.fc{i}.init_std=0.1" for i in (6, 7, 8)),
]
TIMES = ("seconds", "images_per_s")


@pytest.fixture(autouse=True)
def _allocator_left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' process keeps its allocator, its threads and its random state."""
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: None)
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("caltech101", OVERRIDES)


def quiet(epoch: int, share: float, shown: Mapping[str, float]) -> None:
    pass


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in history]


def last(out: Path) -> Checkpoint:
    return Checkpoint.load(Run.checkpoints(out)[-1])


@pytest.fixture(scope="module")
def finished(tiny_prepared: Prepared, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never interrupted."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(loop, "keep_freed_memory", lambda: None)
        train(recipe, tiny_prepared, out, False, 0, quiet)
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The finished run once more, for a test that may change it."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_the_loss_falls(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    history = train(replace(recipe, epochs=10, events=()), tiny_prepared, tmp_path, False, 0, quiet)
    losses = [row["train_loss"] for row in history]
    assert losses[0] > math.log(3) > 2 * losses[-1]  # ln 3 is what knowing nothing costs
    assert history[-1]["train_error"] < 0.3
    assert history[-1]["center_top1_error"] < 0.3


def test_a_run_folder_holds_what_the_design_lists(finished: Path, recipe: Recipe) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"recipe.toml", "metrics.csv", "curves.png", "conv1.png", "checkpoint-0003", "checkpoint-0004"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert load(str(finished / "recipe.toml")) == recipe
    assert len((finished / "metrics.csv").read_text().splitlines()) == 1 + 4


def test_the_history_tells_each_epochs_rate_and_errors(finished: Path) -> None:
    history = last(finished).progress["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert [row["lr"] for row in history] == pytest.approx([0.003, 0.0015, 0.0015, 0.0003])
    for row in history:
        assert 0 <= row["center_top5_error"] <= row["center_top1_error"] <= 1
        assert 0 <= row["train_error"] <= 1
        assert all(row[name] > 0 for name in TIMES)


def test_the_checkpoint_has_the_data_sets_classes_and_contract(finished: Path, tiny_prepared: Prepared) -> None:
    saved = last(finished)
    assert saved.net.fc8.units == 3
    assert saved.contract == tiny_prepared.contract
    np.testing.assert_array_equal(saved.mean, tiny_prepared.statistics.mean)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stop", [(2, 0.4), (4, 1.0)])
def test_a_resumed_run_equals_an_uninterrupted_run(
    finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path, workers: int, stop: tuple[int, float]
) -> None:
    def interrupt(epoch: int, share: float, shown: Mapping[str, float]) -> None:
        if epoch == stop[0] and share >= stop[1]:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(recipe, tiny_prepared, tmp_path, False, workers, interrupt)
    assert len(last(tmp_path).progress["history"]) == stop[0] - 1
    torch.manual_seed(12345)  # another process
    history = train(recipe, tiny_prepared, tmp_path, True, workers, quiet)
    expected, resumed = last(finished), last(tmp_path)
    assert untimed(history) == untimed(expected.progress["history"])
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value, err_msg=name)
    for name, value in expected.training.items():
        np.testing.assert_array_equal(resumed.training[name], value, err_msg=name)


def test_resuming_a_finished_run_changes_nothing(copied: Path, tiny_prepared: Prepared, recipe: Recipe) -> None:
    before = last(copied)
    history = train(recipe, tiny_prepared, copied, True, 0, quiet)
    assert history == before.progress["history"]
    assert all(np.array_equal(last(copied).weights[name], value) for name, value in before.weights.items())


def test_a_run_is_not_written_over(finished: Path, tiny_prepared: Prepared, recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="--resume"):
        train(recipe, tiny_prepared, finished, False, 0, quiet)


def test_another_seed_is_another_run(finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, seed=1, epochs=1), tiny_prepared, tmp_path, False, 0, quiet)
    first = last(finished).progress["history"][0]
    assert last(tmp_path).progress["history"][0]["train_loss"] != first["train_loss"]


def test_frozen_layers_stay_as_they_were(finished: Path) -> None:
    third, fourth = (Checkpoint.load(path).weights for path in Run.checkpoints(finished))
    for name, value in third.items():
        assert np.array_equal(fourth[name], value) == name.startswith("conv1."), name


def test_progress_hears_of_every_step(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    train(replace(recipe, epochs=2), tiny_prepared, tmp_path, False, 0, lambda epoch, share, shown: heard.append((epoch, share)))
    steps = int((~tiny_prepared.validation).sum()) // 8
    assert heard == [(epoch, step / steps) for epoch in (1, 2) for step in range(1, steps + 1)]


# ---- refusals


def test_resuming_with_another_net_is_bad_input_and_leaves_the_runs_recipe(copied: Path, tiny_prepared: Prepared, recipe: Recipe) -> None:
    before = (copied / "recipe.toml").read_bytes()
    other = replace(recipe, net=replace(recipe.net, fc6=replace(recipe.net.fc6, units=65)))
    with pytest.raises(BadInput, match="--resume"):
        train(other, tiny_prepared, copied, True, 0, quiet)
    assert (copied / "recipe.toml").read_bytes() == before


def test_resuming_with_another_data_set_is_bad_input(copied: Path, tiny_folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, new in (("ant", "ant"), ("bee_hive", "wasp"), ("cat", "cat")):
        (tmp_path / "data" / new).symlink_to(tiny_folder / name)
    source = open_folder(tmp_path / "data")
    prepare(source, tmp_path / "other", 0.2, lambda done: None)
    with pytest.raises(BadInput, match="--resume"):
        train(recipe, Prepared.open(tmp_path / "other"), copied, True, 0, quiet)


def test_a_data_set_without_validation_images_is_bad_input(tiny_folder: Path, recipe: Recipe, tmp_path: Path) -> None:
    prepare(open_folder(tiny_folder), tmp_path / "data", 0.0, lambda done: None)
    with pytest.raises(BadInput, match="no validation images"):
        train(recipe, Prepared.open(tmp_path / "data"), tmp_path / "run", False, 0, quiet)
    assert not (tmp_path / "run").exists()


def test_a_data_set_without_training_images_is_bad_input(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    held = replace(tiny_prepared, validation=np.ones_like(tiny_prepared.validation))
    with pytest.raises(BadInput, match="no training images"):
        train(recipe, held, tmp_path / "run", False, 0, quiet)


def test_a_loss_that_is_no_number_is_failed_work(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    wild = replace(recipe, optim=replace(recipe.optim, lr=1e20, bias_lr=1e20))
    with pytest.raises(WorkFailed, match=r"epoch 1: the loss is (nan|inf).*lower optim\.lr"):
        train(wild, tiny_prepared, tmp_path, False, 0, quiet)
    assert Run.checkpoints(tmp_path) == []


def ranked(recipe: Recipe, start: str) -> Recipe:
    net = replace(recipe.net, fc6=replace(recipe.net.fc6, rank=5), fc7=replace(recipe.net.fc7, rank=5))
    return replace(recipe, net=net, start=start, events=(Event(0, frozen=("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")),))


def test_low_rank_layers_need_a_trained_net(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="start=CHECKPOINT"):
        train(ranked(recipe, ""), tiny_prepared, tmp_path, False, 0, quiet)


def test_fine_tuning_starts_from_the_trained_net_factorised(
    finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path
) -> None:
    start = Run.checkpoints(finished)[-1]
    train(replace(ranked(recipe, str(start)), epochs=1), tiny_prepared, tmp_path, False, 0, quiet)
    tuned, trained = last(tmp_path).weights, Checkpoint.load(start).weights
    np.testing.assert_array_equal(tuned["conv3.weight"], trained["conv3.weight"])  # frozen
    assert (tuned["fc8.weight"] != trained["fc8.weight"]).any()
    for name in ("fc6", "fc7"):  # frozen too, so the product is the best of rank 5
        left, singular, right = np.linalg.svd(trained[f"{name}.weight"].astype(np.float64), full_matrices=False)
        best = (left[:, :5] * singular[:5]) @ right[:5]
        np.testing.assert_allclose(tuned[f"{name}.up.weight"] @ tuned[f"{name}.down.weight"], best, atol=1e-4)


@pytest.mark.parametrize("start", ["/nowhere/checkpoint-0001"])
def test_a_start_that_is_no_checkpoint_is_bad_input(tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path, start: str) -> None:
    with pytest.raises(BadInput, match=start):
        train(replace(recipe, start=start), tiny_prepared, tmp_path, False, 0, quiet)


def test_a_start_of_other_classes_is_bad_input(finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path) -> None:
    start = str(Run.checkpoints(finished)[-1])
    labels = (*tiny_prepared.contract.labels[:2], Label("dog", "dog"))
    other = replace(tiny_prepared, contract=replace(tiny_prepared.contract, labels=labels))
    with pytest.raises(BadInput, match=start):
        train(replace(recipe, start=start), other, tmp_path, False, 0, quiet)


def test_a_checkpoint_names_its_start_by_hash_and_not_by_path(
    finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path
) -> None:
    start = Run.checkpoints(finished)[-1]
    train(replace(recipe, start=str(start), epochs=1), tiny_prepared, tmp_path, False, 0, quiet)
    digest = hashlib.sha256((start / "weights.safetensors").read_bytes()).hexdigest()
    assert last(tmp_path).recipe["start"] == digest
    assert str(finished) not in (Run.checkpoints(tmp_path)[-1] / "checkpoint.json").read_text()


@pytest.mark.parametrize("change", ["units", "rank"])
def test_a_start_of_another_net_is_bad_input(finished: Path, tiny_prepared: Prepared, recipe: Recipe, tmp_path: Path, change: str) -> None:
    """As where a user fine-tunes a net of other widths, or asks for a rank above that of the matrix."""
    start = str(Run.checkpoints(finished)[-1])
    fc6 = replace(recipe.net.fc6, units=65) if change == "units" else replace(recipe.net.fc6, rank=65)
    with pytest.raises(BadInput):
        train(replace(recipe, net=replace(recipe.net, fc6=fc6), start=start), tiny_prepared, tmp_path, False, 0, quiet)


# ---- the parts


@pytest.fixture
def training(finished: Path, tiny_prepared: Prepared, recipe: Recipe) -> Training:
    training = Training(recipe, tiny_prepared, torch.device("cpu"))
    training.restore(last(finished))
    return training


def test_the_objective_is_the_mean_cross_entropy(training: Training, tiny_prepared: Prepared, recipe: Recipe) -> None:
    batch = next(Loader(tiny_prepared, recipe, 0).epoch(1))
    training.net.eval()
    with torch.no_grad():
        loss, wrong = training.objective(batch, True)
        logits = training.net(training.objective.normalize(*batch[:4], True)).double().numpy()
    labels = batch.labels.numpy()
    assert float(loss) == pytest.approx(-np.log(oracles.softmax(logits)[range(8), labels]).mean(), rel=1e-5)
    assert int(wrong) == (logits.argmax(1) != labels).sum()


def test_validation_counts_are_those_of_the_center_crop(training: Training, finished: Path, tiny_prepared: Prepared) -> None:
    saved = last(finished)
    net = TenCropNet(AlexNet.of(saved.net, saved.weights), saved.contract, saved.mean)
    indices = np.flatnonzero(tiny_prepared.validation)
    images = torch.from_numpy(np.stack([tiny_prepared.pixels(int(index)) for index in indices]))
    with torch.no_grad():
        center = net(images)[1][:, 2].numpy()
    labels = tiny_prepared.labels[indices]
    counts = training.validate()
    assert counts.n == len(indices)
    assert counts.top1_wrong == (center.argmax(1) != labels).sum()
    assert counts.top5_wrong == 0  # of three classes


@pytest.mark.parametrize("batch", [1, 4, 5, 64])
def test_padding_of_the_last_batch_is_never_counted(
    training: Training, tiny_prepared: Prepared, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sure_of_class_1(images: torch.Tensor) -> torch.Tensor:
        assert len(images) == batch
        return torch.tensor([[0.0, 1.0, 0.0]]).repeat(batch, 1)

    monkeypatch.setattr("training.loop.EVAL_BATCH", batch)
    monkeypatch.setattr(training, "center", sure_of_class_1)
    counts = training.validate()
    labels = tiny_prepared.labels[tiny_prepared.validation]
    assert (counts.n, counts.top1_wrong) == (len(labels), (labels != 1).sum())


@pytest.mark.parametrize("noise", [True, False])
def test_the_phase_switches_the_colour_noise(training: Training, tiny_prepared: Prepared, recipe: Recipe, noise: bool) -> None:
    heard: list[bool] = []
    training.objective.normalize.register_forward_pre_hook(lambda _, arguments: heard.append(arguments[4]))
    training.epoch(Loader(tiny_prepared, recipe, 0), Phase(noise=noise), quiet)
    assert heard == [noise] * 3


def test_training_is_in_train_mode_and_validation_in_eval_mode(training: Training, tiny_prepared: Prepared, recipe: Recipe) -> None:
    training.validate()
    assert not training.net.training
    training.epoch(Loader(tiny_prepared, recipe, 0), Phase(), quiet)
    assert training.net.training


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_training_and_validation_subtract_the_same_mean(tiny_prepared: Prepared, recipe: Recipe, reading: str) -> None:
    """A central crop, not mirrored and without noise, reaches the net alike on both ways."""
    training = Training(replace(recipe, mean=reading), tiny_prepared, torch.device("cpu"))  # type: ignore[arg-type]
    image = torch.from_numpy(tiny_prepared.pixels(0)[None].copy())
    normalize = training.objective.normalize
    middle = image[:, 16:240, 16:240]
    trained = normalize(middle, torch.tensor([[16, 16]]), torch.tensor([False]), torch.zeros(1, 3), False)
    validated = training.views.inputs(image, (tiny_prepared.contract.views[2],))[:, 0]
    torch.testing.assert_close(trained, validated, rtol=0, atol=1e-4)
