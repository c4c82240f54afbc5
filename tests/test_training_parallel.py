"""training/parallel.py: two processes under torchrun train like one, also when stopped, killed and resumed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_recipe import assert_equal, drop_times, load_last
from torchrun import (
    EXACT,
    FROZEN,
    NOISY,
    STEPS,
    Job,
    measure_divergence,
    read_reports,
    run_jobs,
    smooth_noise,
    train_in_this_process,
)

from tencrop.common.errors import RESUME, BadInput, Stopped, WorkFailed
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training import parallel
from tencrop.training.loader import EpochOrder, Loader
from tencrop.training.parallel import NVIDIA, World, init_distributed
from tencrop.training.recipe import load
from tencrop.training.trainer import Trainer, dropout_seed

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return smooth_noise(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="module")
def one(prepared: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 steps of one process."""
    out = tmp_path_factory.mktemp("one")
    train_in_this_process(prepared, Job(str(out), EXACT))
    return out


@pytest.fixture(scope="module")
def halfway(prepared: PreparedStore, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training, stopped by one process in the middle of its last epoch."""
    out = tmp_path_factory.mktemp("halfway")
    shutil.copytree(one / "checkpoint-0003", out / "checkpoint-0003")
    with pytest.raises(Stopped):
        train_in_this_process(prepared, Job(str(out), EXACT, resume=True), stop_at=(4, 2))
    return out


@pytest.fixture(scope="module")
def two(prepared: PreparedStore, halfway: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of two processes."""
    runs = tmp_path_factory.mktemp("two")
    for name in ("begun_by_one", "apart1"):
        shutil.copytree(halfway, runs / name)
    jobs = [
        Job(str(runs / "exact"), EXACT),
        Job(str(runs / "begun_by_one"), EXACT, resume=True),
        Job(str(runs / "noisy"), NOISY),
        Job(str(runs / "again"), NOISY),
        Job(str(runs / "stopped"), NOISY, term=(2, 2, 1)),
        Job(str(runs / "stopped"), NOISY, resume=True),
        Job(str(runs / "frozen"), FROZEN),
        Job(str(runs / "odd"), (*NOISY, "optim.batch=15")),
        Job(str(runs / "apart"), EXACT, resume=True, apart=True),
    ]
    run_jobs(prepared, jobs)
    return runs


# ---- as one process


def test_two_processes_train_as_one_does(one: Path, two: Path) -> None:
    """After 20 steps, only the order of summation and a few switched maxima make a difference."""
    of_weights, of_movement = measure_divergence(load_last(one), load_last(two / "exact"))
    assert of_weights < 1e-5
    assert of_movement < 1e-2


def test_two_processes_freeze_layers_as_one_does(prepared: PreparedStore, two: Path, tmp_path: Path) -> None:
    train_in_this_process(prepared, Job(str(tmp_path), FROZEN))
    alone, together = load_last(tmp_path), load_last(two / "frozen")
    assert measure_divergence(alone, together)[0] < 1e-5
    assert not together.training["velocity.conv1.weight"].any()
    assert together.training["velocity.conv2.weight"].any()


def test_the_history_holds_the_loss_and_error_of_the_whole_batch(one: Path, two: Path) -> None:
    for alone, together in zip(drop_times(load_last(one)), drop_times(load_last(two / "exact")), strict=True):
        assert together["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-5)
        assert together["train_error"] * 16 * STEPS == pytest.approx(
            alone["train_error"] * 16 * STEPS, abs=1.01
        )  # one guess may differ


def test_validation_counts_every_image_once(prepared: PreparedStore, two: Path) -> None:
    saved = load_last(two / "noisy")
    images = int(prepared.validation.sum())
    assert images % 2
    trainer = Trainer(load("source145", NOISY), prepared, World(0, 1, CPU))
    trainer.restore(saved, two)
    counts = trainer.validate()
    row = saved.progress["history"][-1]
    assert counts.n == images
    assert (row["center_top1_error"] * images, row["center_top5_error"] * images) == pytest.approx(
        (counts.top1_wrong, counts.top5_wrong)
    )


@pytest.mark.parametrize("shares", [2, 4])
def test_the_processes_batches_together_are_one_process_batch(prepared: PreparedStore, shares: int) -> None:
    recipe = load("source145", NOISY)
    whole = list(Loader(prepared, recipe, 0).iter_epoch(3))
    parts = [list(Loader(prepared, recipe, 0, (rank, shares)).iter_epoch(3)) for rank in range(shares)]
    assert len(whole) == STEPS
    for step, batch in enumerate(whole):
        for field, value in batch._asdict().items():
            together = torch.stack([getattr(part[step], field) for part in parts], 1).flatten(0, 1)
            torch.testing.assert_close(together, value, rtol=0, atol=0, msg=field)


# ---- checkpoints


def test_a_checkpoint_is_the_whole_net(one: Path, two: Path) -> None:
    alone, together = load_last(one), load_last(two / "exact")
    for pair in ((alone.weights, together.weights), (alone.training, together.training)):
        mine, theirs = ({name: value.shape for name, value in part.items()} for part in pair)
        assert mine == theirs
    net = TenCropNet.from_checkpoint(together)
    assert net(torch.zeros(1, 256, 256, 3, dtype=torch.uint8))[0].shape == (1, 7)


def test_two_processes_finish_the_epoch_that_one_process_started(one: Path, halfway: Path, two: Path) -> None:
    assert halfway.joinpath("checkpoint-0003+000002").is_dir()
    assert read_reports(two / "begun_by_one", 0)[0]["ended"] == "well"
    of_weights, of_movement = measure_divergence(load_last(one), load_last(two / "begun_by_one"))
    assert of_weights < 1e-5
    assert of_movement < 1e-2
    alone, together = (
        drop_times(load_last(one))[-1],
        drop_times(load_last(two / "begun_by_one"))[-1],
    )
    assert together["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-5)
    assert together["train_error"] * 16 * STEPS == pytest.approx(alone["train_error"] * 16 * STEPS, abs=1.01)


# ---- dropout


def test_the_same_seed_gives_the_same_weights(two: Path) -> None:
    assert_equal(load_last(two / "noisy"), load_last(two / "again"))


def test_each_process_draws_masks_of_its_own(two: Path) -> None:
    first, second = (read_reports(two / "noisy", rank)[0]["masks"] for rank in (0, 1))
    assert len(first) == 2 * 2 * STEPS  # dropouts, epochs, steps
    assert len({*first, *second}) == 2 * len(first)
    assert first == read_reports(two / "again", 0)[0]["masks"]


def test_dropout_seeds_do_not_repeat() -> None:
    assert len({dropout_seed(*key) for key in np.ndindex(3, 5, 20, 4)}) == 3 * 5 * 20 * 4


# ---- interruptions


def test_a_signal_to_one_process_stops_both(two: Path) -> None:
    for rank in (0, 1):
        first = read_reports(two / "stopped", rank)[0]
        assert first["ended"] == f"Stopped: stopped in epoch 2 after 3 of {STEPS} batches; {RESUME}"
        assert first["checkpoints"] == ["checkpoint-0001", "checkpoint-0001+000003"]


def test_a_stopped_and_resumed_run_equals_an_undisturbed_one(two: Path) -> None:
    assert read_reports(two / "stopped", 1)[1]["ended"] == "well"
    assert_equal(load_last(two / "stopped"), load_last(two / "noisy"))


def test_a_signal_to_the_whole_process_group_leaves_the_loaders_workers_to_end_well(
    prepared: PreparedStore, tmp_path: Path
) -> None:
    run_jobs(prepared, [Job(str(tmp_path / "run"), NOISY, workers=1, term=(2, 0, 0))], alone=True)
    (end,) = read_reports(tmp_path / "run", 0)
    assert end["ended"] == f"Stopped: stopped in epoch 2 after 1 of {STEPS} batches; {RESUME}"
    assert end["checkpoints"] == ["checkpoint-0001", "checkpoint-0001+000001"]


def test_a_killed_process_costs_a_restart_and_changes_nothing(
    prepared: PreparedStore, two: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    said = run_jobs(prepared, [Job(str(out), NOISY, resume=True, kill=(2, 3, 1))], restarts=1)
    assert (tmp_path / "killed.killed").exists()
    assert "SIGKILL" in said or "exitcode: -9" in said
    assert len(read_reports(out, 0)[0]["masks"]) == 2 * STEPS  # the second epoch's: the first was not trained again
    assert_equal(load_last(out), load_last(two / "noisy"))


def test_a_batch_that_does_not_divide_is_bad_input_in_both_processes(two: Path) -> None:
    for rank in (0, 1):
        assert read_reports(two / "odd", rank)[0]["ended"].startswith(
            "BadInput: a batch of 15 does not divide among 2 processes"
        )
    assert not (two / "odd").exists()


def test_processes_that_find_different_checkpoints_do_not_train(two: Path) -> None:
    """Two machines whose --out is not the same folder look like this."""
    for rank in (0, 1):
        assert "the processes find different checkpoints there" in read_reports(two / "apart", rank)[0]["ended"]
    assert not list(two.glob("apart0/*"))


def test_a_data_set_smaller_than_a_batch_must_divide_too(prepared: PreparedStore) -> None:
    few = replace(prepared, validation=np.arange(len(prepared.labels)) >= 9)
    with pytest.raises(BadInput, match="a batch of 9 does not divide among 2 processes"):
        EpochOrder(few, load("source145", NOISY), (0, 2))


@pytest.mark.skipif(
    not torch.version.cuda or NVIDIA.exists(), reason="is about a GPU that torch was built for and cannot use"
)
def test_a_gpu_that_torch_cannot_use_is_reported_unless_it_is_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parallel, "NVIDIA", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(WorkFailed, match=r"NVIDIA GPU that torch .* cannot use"), init_distributed():
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with init_distributed() as world:
        assert world.device == CPU
