"""Fine-tuning: frozen layers have no gradients, a resumed run is the undisturbed one, another start is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_recipe import OVERRIDES, assert_equal, ignore_progress, load_last

from tencrop.common.errors import BadInput, Stopped
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Label
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training.initial_weights import choose_statistics
from tencrop.training.loader import Loader
from tencrop.training.parallel import World
from tencrop.training.recipe import Recipe, load
from tencrop.training.schedule import compute_epoch_settings
from tencrop.training.train import train
from tencrop.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("process_left_alone")

ALONE = World(0, 1, torch.device("cpu"))
FROZEN = ("conv1", "conv2", "conv3", "conv4", "conv5")
TUNE = [
    *("compile=false", "precision=fp32", "optim.batch=8", "epochs=3", "events=[{after = 1, divide = 10.0}]"),
    *(f"optim.layers.{name}.lr=0.0" for name in FROZEN),
]


@pytest.fixture(scope="module")
def others(tiny_prepared: PreparedStore) -> PreparedStore:
    """The tiny data set under other names and with another mean image."""
    labels = tuple(Label(name, name) for name in ("dog", "eel", "fox"))
    statistics = replace(tiny_prepared.statistics, mean=tiny_prepared.statistics.mean + 1)
    return replace(tiny_prepared, contract=replace(tiny_prepared.contract, labels=labels), statistics=statistics)


@pytest.fixture(scope="module")
def start(others: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny net over other classes, with random weights."""
    out = tmp_path_factory.mktemp("start")
    with torch.random.fork_rng():
        Trainer(load("caltech101", OVERRIDES), others, ALONE).make_checkpoint().save(out / "checkpoint-0000")
    return out


@pytest.fixture
def recipe(start: Path) -> Recipe:
    return load("finetune", [f"start={start}", *TUNE])


def tune(recipe: Recipe, prepared: PreparedStore, out: Path, resume: bool = False) -> Checkpoint:
    train(recipe, prepared, out, resume, 0, ignore_progress)
    return load_last(out)


def test_frozen_layers_have_no_gradients_and_the_others_do(recipe: Recipe, tiny_prepared: PreparedStore) -> None:
    trainer = Trainer(recipe, tiny_prepared, ALONE)
    settings = compute_epoch_settings(recipe, [])
    assert settings and settings.frozen == set(FROZEN)
    trainer._freeze(settings.frozen)
    trainer._step(next(Loader(tiny_prepared, recipe, 0).iter_epoch(1)), settings, 1)
    with_gradients = {name.partition(".")[0] for name, p in trainer.net.named_parameters() if p.grad is not None}
    assert with_gradients == {"fc6", "fc7", "fc8"}


@pytest.mark.parametrize("source", ["start", "data"])
def test_the_mean_image_is_that_of_the_start_or_of_the_data(
    start: Path, tiny_prepared: PreparedStore, others: PreparedStore, source: str
) -> None:
    tuned = Trainer(load("finetune", [f"start={start}", *TUNE, f"statistics_from={source}"]), tiny_prepared, ALONE)
    expected = others if source == "start" else tiny_prepared
    saved = tuned.make_checkpoint()
    np.testing.assert_array_equal(saved.statistics.mean, expected.statistics.mean)
    np.testing.assert_array_equal(tuned.objective.normalize.mean.numpy(), expected.statistics.mean)
    np.testing.assert_array_equal(tuned.ten_crop.mean.numpy(), expected.statistics.mean)
    assert saved.contract == tiny_prepared.contract


def test_a_start_without_colours_takes_those_of_the_data(start: Path, tiny_prepared: PreparedStore) -> None:
    """An imported net has a mean image, and no colour PCA."""
    theirs = load_last(start)
    colourless = replace(theirs, statistics=replace(theirs.statistics, colour_std=np.zeros(3, np.float32)))
    chosen = choose_statistics(load("finetune"), colourless, tiny_prepared)
    assert chosen.mean is theirs.statistics.mean
    assert chosen.colour_std is tiny_prepared.statistics.colour_std


@pytest.mark.slow
def test_crops_have_the_size_that_the_net_sees(tiny_prepared: PreparedStore, tmp_path: Path) -> None:
    """As those of Caffe's nets. The worker opens the data set itself."""
    recipe = load("caltech101", [*OVERRIDES, "net.input=227", "epochs=1", "net.conv1.pad=[0, 0]"])
    train(recipe, tiny_prepared, tmp_path, False, 1, ignore_progress)
    assert load_last(tmp_path).contract == replace(tiny_prepared.contract, crop=227)


@pytest.mark.slow
def test_frozen_layers_are_those_of_the_start_and_the_checkpoint_says_what_was_taken(
    recipe: Recipe, start: Path, tiny_prepared: PreparedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tencrop")
    tuned, begun = tune(recipe, tiny_prepared, tmp_path), load_last(start).weights
    for name, value in tuned.weights.items():
        assert np.array_equal(value, begun[name]) == name.startswith("conv"), name
    session = tuned.progress["sessions"][0]
    assert session["start"] == {"taken": [*FROZEN, "fc6", "fc7"], "drawn": {"fc8": "other classes"}}
    words = "conv1, conv2, conv3, conv4, conv5, fc6, fc7 taken; drawn: fc8 (other classes)"
    assert f"start: {start / 'checkpoint-0000'}: {words}" in caplog.messages


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_resumed_run_is_the_undisturbed_one(
    recipe: Recipe, tiny_prepared: PreparedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Stopped in the second epoch, after the first of three batches."""
    recipe = replace(recipe, precision=precision)  # type: ignore[arg-type]
    whole = tune(recipe, tiny_prepared, tmp_path / "whole")
    step = Trainer._step

    def stop_in_the_second_epoch(trainer: Trainer, *arguments: object) -> torch.Tensor:
        if len(trainer.history) == 1 and trainer.progress.steps:
            raise Stopped("stopped")
        return step(trainer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("tencrop.training.trainer.REPORT", 1)
    monkeypatch.setattr(Trainer, "_step", stop_in_the_second_epoch)
    with pytest.raises(Stopped):
        tune(recipe, tiny_prepared, tmp_path / "cut")
    monkeypatch.setattr(Trainer, "_step", step)
    assert list_checkpoints(tmp_path / "cut")[-1].name == "checkpoint-0001+000001"
    resumed = tune(recipe, tiny_prepared, tmp_path / "cut", resume=True)
    assert_equal(resumed, whole)
    assert ["start" in session for session in resumed.progress["sessions"]] == [True, False]


@pytest.mark.slow
def test_a_resume_from_another_start_is_refused(
    recipe: Recipe, start: Path, tiny_prepared: PreparedStore, tmp_path: Path
) -> None:
    tune(replace(recipe, epochs=1), tiny_prepared, tmp_path / "run")
    other = load_last(start)
    weights = {**other.weights, "conv1.bias": other.weights["conv1.bias"] + 1}
    replace(other, weights=weights).save(tmp_path / "other")
    with pytest.raises(BadInput, match=r"--resume: the run was started with start = \w{64}, now it is \w{64}; keep it"):
        tune(replace(recipe, start=str(tmp_path / "other")), tiny_prepared, tmp_path / "run", resume=True)


@pytest.mark.slow
def test_the_recipe_in_the_run_folder_continues_it(
    recipe: Recipe, tiny_prepared: PreparedStore, tmp_path: Path
) -> None:
    whole = tune(recipe, tiny_prepared, tmp_path / "whole")
    shutil.rmtree(list_checkpoints(tmp_path / "whole")[-1])
    again = load(str(tmp_path / "whole" / "recipe.toml"))
    assert_equal(tune(again, tiny_prepared, tmp_path / "whole", resume=True), whole)
