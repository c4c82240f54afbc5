"""training/linear.py: the last layer is scikit-learn's, and the checkpoint is one like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support.command_line import call
from support.tiny_recipe import OVERRIDES

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import CENTER_VIEW, Label
from tencrop.model.net import AlexNet
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.training.linear import MANY, train_linear
from tencrop.training.logistic_regression import Examples, choose_strength
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


@pytest.mark.parametrize("many", [MANY, 0])
def test_every_view_of_a_training_image_is_an_example_unless_there_are_many(
    start: Path, tiny_prepared: PreparedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("tencrop.training.linear.MANY", many)
    train_linear(start, tiny_prepared, tmp_path / "run")
    found = Checkpoint.load(find_checkpoint(tmp_path / "run"))
    net, training = TenCropNet.from_checkpoint(Checkpoint.load(start)), np.flatnonzero(~tiny_prepared.validation)
    ((images, labels),) = tiny_prepared.iter_batches(training, len(training))
    with torch.inference_mode():
        crops = net.cut_views(torch.from_numpy(images), net.contract.views)
        features = (
            torch.nn.Sequential(*list(net.net.children())[:-1])(crops.flatten(0, 1))
            .flatten(1)
            .unflatten(0, crops.shape[:2])
        )
    center = features[:, CENTER_VIEW].numpy()
    scale = np.sqrt((center.astype(float) ** 2).sum(1).mean())
    views = features.flatten(0, 1).numpy() if many else center
    strength = choose_strength(Examples((center / scale).astype(np.float32), labels))
    assert found.recipe["about"].endswith(f"C = {strength:g}")
    each = len(views) // len(labels)
    fit = LogisticRegression(C=strength / each, max_iter=5000).fit(views / scale, labels.repeat(each))
    logits = center @ found.weights["fc8.weight"].T + found.weights["fc8.bias"]
    expected = fit.decision_function(center / scale)
    np.testing.assert_allclose(logits, expected, atol=0.02 * np.abs(expected).max())


def test_validation_images_change_nothing_but_the_errors(
    start: Path, tiny_prepared: PreparedStore, tmp_path: Path
) -> None:
    first = train_linear(start, tiny_prepared, tmp_path / "first")
    labels = np.where(tiny_prepared.validation, (tiny_prepared.labels + 1) % 3, tiny_prepared.labels)
    second = train_linear(start, replace(tiny_prepared, labels=labels), tmp_path / "second")
    assert second.center_top1_error != first.center_top1_error
    one, other = (Checkpoint.load(find_checkpoint(tmp_path / name)).weights for name in ("first", "second"))
    np.testing.assert_array_equal(one["fc8.weight"], other["fc8.weight"])


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
