"""training/trainer.py: the objective, steps in each precision, validation, and the checkpoint's contents."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from support.epoch_records import make_record
from support.tiny_recipe import OVERRIDES, ignore_progress
from torch import Tensor

from tencrop.common.errors import Stopped, WorkFailed
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.metrics import ErrorCounts
from tencrop.model.run_progress import EPOCH_START, EpochProgress
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training import trainer as trainer_module
from tencrop.training.loader import Loader
from tencrop.training.parallel import WholeNet, World
from tencrop.training.recipe import Recipe, load
from tencrop.training.schedule import EpochSettings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import Trainer, TrainingPass, dropout_seed

ALONE = World(0, 1, torch.device("cpu"))
HERE = Path("checkpoint")


@pytest.fixture(autouse=True)
def _random_state_left_alone() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("caltech101", OVERRIDES)


@pytest.fixture
def trainer(tiny_prepared: PreparedStore, recipe: Recipe) -> Trainer:
    return Trainer(recipe, tiny_prepared, ALONE)


def train_epoch(
    trainer: Trainer, settings: EpochSettings | None = None, progress: EpochProgress | None = None
) -> TrainingPass:
    """Train on the batches of an epoch after the position `progress`."""
    trainer.progress = progress or EPOCH_START
    loader = Loader(trainer.prepared, trainer.recipe, 0)
    return trainer.train_epoch(loader, settings or EpochSettings(), Stop(), ignore_progress)


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    """Weights and velocities."""
    saved = trainer.make_checkpoint()
    return {**saved.weights, **saved.training}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_the_objective_is_the_mean_cross_entropy(
    trainer: Trainer, tiny_prepared: PreparedStore, recipe: Recipe
) -> None:
    batch = next(Loader(tiny_prepared, recipe, 0).iter_epoch(1))
    trainer.net.eval()
    with torch.no_grad():
        loss, wrong = trainer.objective(batch, True)
        logits = trainer.net(trainer.objective.normalize(*batch[:4], True)).double().numpy()
    labels = batch.labels.numpy()
    assert float(loss) == pytest.approx(-np.log(oracles.softmax(logits)[range(8), labels]).mean(), rel=1e-5)
    assert int(wrong) == (logits.argmax(1) != labels).sum()


def test_an_epoch_returns_the_means_over_its_batches(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = iter(torch.tensor(pair, dtype=torch.float64) for pair in ([3.0, 8], [1.0, 0], [0.5, 4]))
    monkeypatch.setattr(trainer, "_step", lambda batch, now, step: next(sums))
    training_pass = train_epoch(trainer)
    assert (training_pass.loss, training_pass.error) == (1.5, 0.5)  # of 3 batches of 8 images


def test_a_stopped_epoch_continues_after_its_batches(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def step(batch: Any, now: EpochSettings, step: int) -> torch.Tensor:
        steps.append(step)
        return torch.tensor([0.5, 4.0], dtype=torch.float64)

    monkeypatch.setattr(trainer, "_step", step)
    training_pass = train_epoch(trainer, progress=EpochProgress(steps=2, loss=4.0, wrong=8.0, seconds=100.0))
    assert steps == [3]
    assert (training_pass.loss, training_pass.error) == (1.5, 0.5)
    assert 0.2 < training_pass.images_per_s < 0.24  # 24 images in 100 seconds and a little


def test_validation_counts_are_those_of_the_center_crop(trainer: Trainer, tiny_prepared: PreparedStore) -> None:
    saved = trainer.make_checkpoint()
    net = TenCropNet.from_checkpoint(saved)
    indices = np.flatnonzero(tiny_prepared.validation)
    images = torch.from_numpy(np.stack([tiny_prepared.read_pixels(int(index)) for index in indices]))
    with torch.no_grad():
        center = net(images)[1][:, 2].numpy()
    labels = tiny_prepared.labels[indices]
    counts = trainer.validate()
    assert counts.n == len(indices)
    assert counts.top1_wrong == (center.argmax(1) != labels).sum()
    assert counts.top5_wrong == 0  # of three classes


@pytest.mark.parametrize("batch", [1, 4, 5, 64])
def test_padding_of_the_last_batch_is_never_counted(
    trainer: Trainer, tiny_prepared: PreparedStore, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sure_of_class_1(images: torch.Tensor) -> torch.Tensor:
        assert len(images) == batch
        return torch.tensor([[0.0, 1.0, 0.0]]).repeat(batch, 1)

    monkeypatch.setattr("tencrop.training.trainer.EVAL_BATCH", batch)
    monkeypatch.setattr(trainer, "center", sure_of_class_1)
    counts = trainer.validate()
    labels = tiny_prepared.labels[tiny_prepared.validation]
    assert (counts.n, counts.top1_wrong) == (len(labels), (labels != 1).sum())


def test_images_without_an_answer_count_as_wrong(
    trainer: Trainer, tiny_prepared: PreparedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "center", lambda images: torch.full((len(images), 3), torch.nan))
    images = int(tiny_prepared.validation.sum())
    assert trainer.validate() == ErrorCounts(images, images, images)


@pytest.mark.parametrize("noise", [True, False])
def test_the_settings_switch_the_colour_noise(trainer: Trainer, noise: bool) -> None:
    heard: list[bool] = []
    trainer.objective.normalize.register_forward_pre_hook(lambda _, arguments: heard.append(arguments[4]))
    train_epoch(trainer, EpochSettings(noise=noise))
    assert heard == [noise] * 3


def test_training_is_in_train_mode_and_validation_in_eval_mode(trainer: Trainer) -> None:
    trainer.validate()
    assert not trainer.net.training
    train_epoch(trainer)
    assert trainer.net.training


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_training_and_validation_subtract_the_same_mean(
    tiny_prepared: PreparedStore, recipe: Recipe, reading: str
) -> None:
    """A central crop, not mirrored and without noise, reaches the net the same way in both."""
    trainer = Trainer(replace(recipe, mean=reading), tiny_prepared, ALONE)  # type: ignore[arg-type]
    image = torch.from_numpy(tiny_prepared.read_pixels(0)[None].copy())
    normalize = trainer.objective.normalize
    middle = image[:, 16:240, 16:240]
    trained = normalize(middle, torch.tensor([[16, 16]]), torch.tensor([False]), torch.zeros(1, 3), False)
    validated = trainer.ten_crop.cut_views(image, (tiny_prepared.contract.views[2],))[:, 0]
    torch.testing.assert_close(trained, validated, rtol=0, atol=1e-4)


# ---- dropout masks


def test_the_masks_of_a_step_depend_on_seed_epoch_step_and_rank_alone() -> None:
    keys = [(0, 1, 1, 0), (1, 1, 1, 0), (0, 2, 1, 0), (0, 1, 2, 0), (0, 1, 1, 1), (1, 0, 1, 1)]
    seeds = [dropout_seed(*key) for key in keys]
    assert [dropout_seed(*key) for key in keys] == seeds
    masks = []
    for seed in seeds:
        torch.manual_seed(seed)
        masks.append(tuple((torch.rand(64) >= 0.5).tolist()))
    assert len(set(masks)) == len(keys)


def test_each_step_draws_its_masks_from_its_own_seed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    trainer.history = [make_record()]
    train_epoch(trainer)
    assert seeds == [dropout_seed(0, 2, step, 0) for step in (1, 2, 3)]


# ---- precisions


@pytest.fixture
def half(tiny_prepared: PreparedStore, recipe: Recipe) -> Trainer:
    return Trainer(replace(recipe, precision="fp16"), tiny_prepared, ALONE)


def with_scale(trainer: Trainer, scale: float) -> Trainer:
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": scale})
    return trainer


def test_a_step_in_fp16_is_close_to_one_in_fp32(half: Trainer, trainer: Trainer) -> None:
    batch = next(Loader(trainer.prepared, trainer.recipe, 0).iter_epoch(1))
    before = state(half)
    rough, exact = with_scale(half, 256.0)._step(batch, EpochSettings(), 1), trainer._step(batch, EpochSettings(), 1)
    assert float(rough[0]) == pytest.approx(float(exact[0]), rel=0.01)
    assert not any(np.array_equal(value, before[name]) for name, value in state(half).items())
    assert half.scaler.get_scale() == 256.0
    for name, velocity in trainer.optim.velocity.items():
        off = float((half.optim.velocity[name] - velocity).norm() / velocity.norm())
        assert off < (0.005 if name.startswith("fc") else 0.3), (
            name
        )  # behind a pool, which picks others of almost equal pixels


def test_gradients_that_overflow_leave_the_net_alone_and_halve_the_scale(half: Trainer) -> None:
    batch = next(Loader(half.prepared, half.recipe, 0).iter_epoch(1))
    with_scale(half, 256.0)._step(
        batch, EpochSettings(), 1
    )  # gives velocities that would move it even with gradients of 0
    before = state(half)
    with_scale(half, 2.0**100)._step(batch, EpochSettings(), 2)
    assert same(state(half), before)
    assert half.scaler.get_scale() == 2.0**99


def test_the_scale_is_saved_and_restored(half: Trainer, tiny_prepared: PreparedStore) -> None:
    with_scale(half, 1024.0)._step(next(Loader(half.prepared, half.recipe, 0).iter_epoch(1)), EpochSettings(), 1)
    again = Trainer(half.recipe, tiny_prepared, ALONE)
    again.restore(half.make_checkpoint(), HERE)
    assert again.scaler.state_dict() == half.scaler.state_dict()
    assert (again.scaler.get_scale(), again.scaler.state_dict()["_growth_tracker"]) == (1024.0, 1)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_run_computes_in_the_precision_of_auto_and_its_checkpoint_records_it(
    tiny_prepared: PreparedStore, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    begun = Trainer(replace(recipe, precision="auto"), tiny_prepared, ALONE)
    with begun._autocast():
        assert torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == (torch.bfloat16 if has_bf16 else torch.float32)
    saved = begun.make_checkpoint()
    assert (saved.recipe["precision"], saved.progress["sessions"][0]["precision"]) == (
        "auto",
        "bf16" if has_bf16 else "fp32",
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not has_bf16)
    elsewhere = Trainer(replace(recipe, precision="auto"), tiny_prepared, ALONE)
    elsewhere.restore(saved, HERE)
    assert [session["precision"] for session in elsewhere.sessions] == (
        ["bf16", "fp32"] if has_bf16 else ["fp32", "bf16"]
    )


# ---- checkpoints


@pytest.mark.slow
def test_a_checkpoint_is_a_copy_that_training_on_does_not_change(trainer: Trainer) -> None:
    train_epoch(trainer)
    first = trainer.make_checkpoint()
    kept = {name: value.copy() for name, value in {**first.weights, **first.training}.items()}
    train_epoch(trainer)
    assert same({**first.weights, **first.training}, kept)


@pytest.mark.slow
def test_a_restored_training_is_the_one_that_was_saved(
    trainer: Trainer, tiny_prepared: PreparedStore, recipe: Recipe
) -> None:
    train_epoch(trainer)
    trainer.progress = EpochProgress(steps=2, loss=2.5, wrong=9.0, seconds=1.5)
    again = Trainer(recipe, tiny_prepared, ALONE)
    assert not same(state(again), state(trainer))
    again.restore(trainer.make_checkpoint(), HERE)
    assert same(state(again), state(trainer))
    assert again.progress == trainer.progress


@pytest.mark.parametrize("where", ["weight", "velocity"])
def test_a_net_that_is_not_finite_is_not_saved(trainer: Trainer, where: str) -> None:
    tensor = trainer.net.get_parameter("fc8.bias") if where == "weight" else trainer.optim.velocity["fc8.bias"]
    with torch.no_grad():
        tensor[1] = torch.inf
    name = "fc8.bias" if where == "weight" else "velocity.fc8.bias"
    with pytest.raises(WorkFailed, match=f"^{name} is not finite after 0 epochs, 0 batches; lower optim.lr"):
        trainer.make_checkpoint()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp32_never_computes_in_tf32(tiny_prepared: PreparedStore, recipe: Recipe, precision: Any) -> None:
    Trainer(replace(recipe, precision=precision), tiny_prepared, ALONE)
    assert torch.backends.cudnn.allow_tf32 == (precision != "fp32")


# ---- the other processes


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The sums that the first of two processes reads; the other one's are 0, and no gradient is averaged."""
    read: list[Tensor] = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: read.append(total.clone()))
    monkeypatch.setattr(WholeNet, "average_gradients", lambda self, objective: objective)
    return read


@pytest.fixture
def one_of_two(tiny_prepared: PreparedStore, readings: list[Tensor]) -> tuple[Trainer, Loader]:
    """A trainer and its loader of 24 training images, 12 batches an epoch."""
    recipe = load("caltech101", [*OVERRIDES, "optim.batch=2"])
    trainer = Trainer(recipe, tiny_prepared, World(0, 2, torch.device("cpu")))
    return trainer, Loader(tiny_prepared, recipe, 0, trainer.partition.share)


def test_processes_wait_for_each_other_every_ten_steps(
    one_of_two: tuple[Trainer, Loader], readings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, loader = one_of_two
    heard: list[float] = []
    monkeypatch.setattr(trainer_module, "PROMPT", 1e6)
    trainer.train_epoch(loader, EpochSettings(), Stop(), lambda epoch, share, shown: heard.append(share * len(loader)))
    assert heard == pytest.approx([1, 11, 12])
    assert len(readings) == 3


def test_processes_with_slow_steps_wait_for_each_other_more_often(
    one_of_two: tuple[Trainer, Loader], readings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, loader = one_of_two
    monkeypatch.setattr(trainer_module, "PROMPT", 0.0)
    trainer.train_epoch(loader, EpochSettings(), Stop(), ignore_progress)
    assert len(readings) == len(loader) == 12


def test_a_stop_waits_for_the_next_reading(one_of_two: tuple[Trainer, Loader], monkeypatch: pytest.MonkeyPatch) -> None:
    (trainer, loader), stop = one_of_two, Stop()
    monkeypatch.setattr(trainer_module, "PROMPT", 1e6)
    step = Trainer._step

    def requested_in_the_third(*arguments: Any) -> Tensor:
        stop.requested |= arguments[-1] == 3
        return step(*arguments)

    monkeypatch.setattr(Trainer, "_step", requested_in_the_third)
    with pytest.raises(Stopped, match="in epoch 1 after 11 of 12 batches"):
        trainer.train_epoch(loader, EpochSettings(), stop, ignore_progress)
    assert trainer.progress.steps == 11
