"""training/linear.py: the last layer is scikit-learn's, and the checkpoint is one like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import call
from support.tiny_recipe import OVERRIDES

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Label
from tencrop.model.net import AlexNet
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.linear import Examples, choose_layer, fit_layers, train_linear
from tencrop.training.recipe import load, to_plain


@pytest.fixture(scope="module")
def start(tiny_prepared: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a thin net with random weights, for seven other classes."""
    recipe = load("caltech101", [*OVERRIDES, "net.fc8.units=7"])
    net = AlexNet(recipe.net)
    net.init(7)
    contract = replace(tiny_prepared.contract, labels=tuple(Label(str(n), str(n)) for n in range(7)))
    folder = tmp_path_factory.mktemp("start") / "checkpoint"
    Checkpoint(to_plain(recipe), contract, tiny_prepared.statistics, net.weights()).save(folder)
    return folder


@pytest.mark.slow
def test_checkpoint_has_a_new_last_layer_and_the_starts_others(
    start: Path, tiny_prepared: PreparedStore, tmp_path: Path
) -> None:
    record = train_linear(start, tiny_prepared, tmp_path / "run")
    assert record.center_top1_error <= 1 / 3, "colours and stripes tell the classes apart"
    before, after = Checkpoint.load(start), Checkpoint.load(find_checkpoint(tmp_path / "run"))
    assert after.contract == tiny_prepared.contract
    assert after.weights["fc8.weight"].shape == (3, 64)
    for name, value in before.weights.items():
        if not name.startswith("fc8."):
            np.testing.assert_array_equal(after.weights[name], value)
    net, held_out = TenCropNet.from_checkpoint(after), np.flatnonzero(tiny_prepared.validation)
    ((images, labels),) = tiny_prepared.iter_batches(held_out, len(held_out))
    with torch.inference_mode():
        wrong = (net.predict_center(torch.from_numpy(images)).numpy().argmax(1) != labels).mean()
    assert wrong == record.center_top1_error == after.run_progress.history[0].center_top1_error
    with pytest.raises(BadInput, match="holds a run already"):
        train_linear(start, tiny_prepared, tmp_path / "run")


def make_examples(classes: int, count: int, seed: int) -> Examples:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = np.random.default_rng(0).normal(0, 1, (classes, 20))
    features = 50 * (centers[labels] + random.normal(0, 1, (count, 20)))
    return Examples(features.astype(np.float32), labels.astype(np.int32))


@pytest.mark.parametrize("classes", [2, 4])
def test_stronger_weights_fit_better_and_the_choice_has_the_fewest_errors(classes: int) -> None:
    training, validation = make_examples(classes, 80, 1), make_examples(classes, 40, 2)
    layers = fit_layers(training)
    assert layers[0].weight.shape == (classes, 20)
    losses = [layer.mean_loss(training) for layer in layers]
    assert losses == sorted(losses, reverse=True) and losses[0] < np.log(classes)
    chosen = choose_layer(training, validation)
    fewest = min(layer.count_errors(validation).top1_error for layer in layers)
    assert chosen.count_errors(validation).top1_error == fewest < 1 / 2


def test_data_without_images_for_a_class_are_refused(start: Path, tiny_prepared: PreparedStore, tmp_path: Path) -> None:
    no_cats = replace(tiny_prepared, validation=tiny_prepared.validation | (tiny_prepared.labels == 2))
    with pytest.raises(BadInput, match="class 'cat' has no training image"):
        train_linear(start, no_cats, tmp_path / "run")
    no_split = replace(tiny_prepared, validation=np.zeros_like(tiny_prepared.validation))
    with pytest.raises(BadInput, match="no validation images"):
        train_linear(start, no_split, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_of_a_training_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "train", "linear", "--data", "prepared", "--out", "run", "--resume") == 2
    assert capsys.readouterr().err == "tencrop: train linear: takes --data, --start and --out\n"
