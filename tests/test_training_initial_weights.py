"""training/initial_weights.py: layers that fit are taken from the start, the others are drawn, and both are named."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny_recipe import OVERRIDES

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract, Label
from tencrop.model.layer_table import parameter_shapes
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.training.initial_weights import draw_weights, load_start, take_weights
from tencrop.training.recipe import Recipe, load, to_plain

ROUND = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]  # all but the last layer
DOGS = (Label("dog", "dog"), Label("eel", "eel"), Label("fox", "fox"))


def save_start(folder: Path, prepared: PreparedStore, overrides: tuple[str, ...] = ()) -> Path:
    """Write a checkpoint of the tiny net with random weights, trained on three other classes than the tiny data set."""
    recipe = load("caltech101", [*OVERRIDES, "net.fc8.units=3", *overrides])
    random = np.random.default_rng(7)
    weights = {
        name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in parameter_shapes(recipe.net).items()
    }
    statistics = replace(prepared.statistics, mean=prepared.statistics.mean + 1)
    Checkpoint(to_plain(recipe), replace(prepared.contract, labels=DOGS), statistics, weights).save(folder)
    return folder


@pytest.fixture(scope="module")
def start(tiny_prepared: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_start(tmp_path_factory.mktemp("start") / "run" / "checkpoint-0001", tiny_prepared)


def tune(start: Path, *overrides: str) -> Recipe:
    return load("finetune", [f"start={start}", "net.fc8.units=3", *overrides])


def split(weights: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> set[str]:
    """The names of the parameters that are the same in both."""
    return {name for name in weights if name in others and np.array_equal(weights[name], others[name])}


def test_all_but_the_last_layer_is_taken_for_other_classes(start: Path, tiny_prepared: PreparedStore) -> None:
    recipe, theirs = tune(start), Checkpoint.load(start)
    initial = take_weights(recipe, theirs, tiny_prepared)
    assert (initial.taken, initial.drawn) == (tuple(ROUND), {"fc8": "other classes"})
    assert initial.describe() == "conv1, conv2, conv3, conv4, conv5, fc6, fc7 taken; drawn: fc8 (other classes)"
    assert split(initial.weights, theirs.weights) == {f"{name}.{kind}" for name in ROUND for kind in ("weight", "bias")}
    assert split(initial.weights, draw_weights(recipe).weights) >= {"fc8.weight", "fc8.bias"}


def test_the_last_layer_is_taken_for_the_same_ids_in_the_same_order(start: Path, tiny_prepared: PreparedStore) -> None:
    """The words for a person may differ."""
    renamed = tuple(Label(label.id, label.name.upper()) for label in DOGS)
    theirs = Checkpoint.load(start)
    for labels, taken in ((renamed, True), (DOGS[::-1], False)):
        prepared = replace(tiny_prepared, contract=replace(tiny_prepared.contract, labels=labels))
        assert ("fc8" in take_weights(tune(start), theirs, prepared).taken) is taken


def test_layers_that_do_not_fit_are_drawn_with_the_reason(start: Path, tiny_prepared: PreparedStore) -> None:
    conv6 = ["net.conv6.channels=16", "net.conv6.kernel=3", "net.conv6.pad=[1, 1]"]
    layers = [*load("caltech101").net.layers]
    recipe = tune(start, *conv6, f"net.layers={[*layers[:5], 'conv6 relu', *layers[5:]]}", "net.fc6.units=65")
    initial = take_weights(recipe, Checkpoint.load(start), tiny_prepared)
    reasons = {"conv6": "not in the start", "fc6": "other shape", "fc7": "other shape", "fc8": "other classes"}
    assert (initial.taken, initial.drawn) == (tuple(ROUND[:5]), reasons)
    assert {name: value.shape for name, value in initial.weights.items()} == parameter_shapes(recipe.net)


def test_a_rank_factorises_the_layers_of_the_start(start: Path, tiny_prepared: PreparedStore) -> None:
    theirs = Checkpoint.load(start)
    initial = take_weights(tune(start, "net.fc6.rank=64", "net.fc8.rank=2"), theirs, tiny_prepared)
    assert initial.taken == tuple(ROUND)
    product = initial.weights["fc6.up.weight"] @ initial.weights["fc6.down.weight"]
    np.testing.assert_allclose(product, theirs.weights["fc6.weight"], atol=1e-4)  # all of its rank
    assert initial.weights["fc8.down.weight"].shape == (2, 64)  # drawn, not factorised


def test_the_nets_of_table_2_begin_as_their_logs_say(start: Path, tiny_prepared: PreparedStore) -> None:
    """Each starred net begins with layers of the one before. The first begins with those of net 145."""
    convolutions, theirs = ROUND[:5], Checkpoint.load(start)
    for seed, (name, taken) in enumerate(
        (
            ("pretrain146_2009", convolutions),
            ("pretrain146", [*convolutions, "conv6"]),
            ("finetune146", [*convolutions, "conv6", "fc6", "fc7"]),
        )
    ):
        thin = [*OVERRIDES, "net.fc8.units=3", "net.conv6.channels=16"]
        recipe = load(name, [*thin, f"start={start}", f"seed={seed}"])
        initial = take_weights(recipe, theirs, tiny_prepared)
        assert initial.taken == tuple(taken)
        assert {*initial.drawn.values()} == {"not named in the recipe"}
        for layer in ("fc6", "fc7"):
            is_same = np.array_equal(initial.weights[f"{layer}.weight"], theirs.weights[f"{layer}.weight"])
            assert is_same is (layer in taken)
        theirs = replace(theirs, recipe=to_plain(recipe), weights=initial.weights)


def test_a_start_without_a_layer_that_the_recipe_takes_is_refused(start: Path, tiny_prepared: PreparedStore) -> None:
    recipe = load("finetune146", [*OVERRIDES, f"start={start}", "net.fc8.units=3", "net.conv6.channels=16"])
    with pytest.raises(BadInput, match="recipe finetune146 takes conv6 from it: not in the start"):
        take_weights(recipe, Checkpoint.load(start), tiny_prepared)


def test_a_start_whose_images_another_filter_resized_is_refused(start: Path, tiny_prepared: PreparedStore) -> None:
    other = replace(tiny_prepared, contract=replace(tiny_prepared.contract, filter="bicubic"))
    with pytest.raises(BadInput, match=r"the bilinear filter resized.* the bicubic one; prepare them again"):
        load_start(tune(start), other)


def test_a_start_of_no_fitting_layer_is_refused(start: Path, tiny_prepared: PreparedStore) -> None:
    thin = load("caltech101", [f"start={start}", "net.fc8.units=3"])
    other = replace(thin, net=replace(thin.net, conv5=replace(thin.net.conv5, kernel=1, pad=(0, 0))))
    with pytest.raises(BadInput, match="no layer fits the net of recipe caltech101; start from another net"):
        take_weights(other, Checkpoint.load(start), tiny_prepared)


def test_the_recipe_has_the_net_and_the_mean_of_the_start(tiny_prepared: PreparedStore, tmp_path: Path) -> None:
    theirs = save_start(tmp_path / "theirs", tiny_prepared, ("mean=center", "net.conv2.columns=1"))
    recipe = tune(theirs, "net.fc7.rank=8")
    assert (recipe.net.conv1.channels, recipe.net.conv2.groups, recipe.net.fc7.rank, recipe.mean) == (8, 1, 8, "center")
    assert load("caltech101", [f"start={theirs}"]).net == load("caltech101").net  # a recipe with a net of its own


@pytest.mark.parametrize("folder", ["run/checkpoint-0001", "run", "model"], ids=["checkpoint", "run", "export"])
def test_a_start_is_a_checkpoint_a_run_or_an_exports_folder(start: Path, tmp_path: Path, folder: str) -> None:
    checkpoint = start
    if folder == "model":
        (tmp_path / "model").mkdir()
        checkpoint = tmp_path / "model" / "checkpoint"
        checkpoint.symlink_to(start)
    root = tmp_path if folder == "model" else start.parents[1]
    assert find_checkpoint(root / folder) == checkpoint
    assert load("finetune", [f"start={root / folder}"]).start == str(checkpoint)


@pytest.mark.parametrize("name", ["finetune", "finetune146"])
def test_a_recipe_that_needs_a_start_says_so(name: str, tiny_prepared: PreparedStore) -> None:
    with pytest.raises(BadInput, match=f"recipe {name}: it fine-tunes another net; add --start CHECKPOINT"):
        load_start(load(name), tiny_prepared)


@pytest.mark.parametrize("recipe", ["finetune", "caltech101"])
def test_a_folder_without_a_checkpoint_is_one_line(tmp_path: Path, tiny_prepared: PreparedStore, recipe: str) -> None:
    with pytest.raises(BadInput, match="no checkpoint here"):
        load_start(load(recipe, [f"start={tmp_path}"]), tiny_prepared)


@pytest.mark.parametrize(("resize", "crop"), [(240, 224), (256, 200)])
def test_a_start_of_other_images_is_refused(tiny_prepared: PreparedStore, start: Path, resize: int, crop: int) -> None:
    contract = Contract(resize=resize, crop=crop)
    words = rf"images of 256 pixels in crops of 224, and .* has images of {resize} for crops of {crop}; start"
    with pytest.raises(BadInput, match=words):
        load_start(tune(start), replace(tiny_prepared, contract=contract))
