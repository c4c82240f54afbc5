"""experiments/figure4.py: the features are the input of fc8, the nearest images those that a plain search finds."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.figure4 import NEAREST, feature_functions, find_nearest, search, spread_evenly
from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.ten_crop_net import TenCropNet


@pytest.fixture
def checkpoint(source145: Checkpoint, tiny_prepared: PreparedStore) -> Checkpoint:
    """A net of the tiny data set's three classes."""
    weights = {name: weight[:3] if name.startswith("fc8") else weight for name, weight in source145.weights.items()}
    net = {**source145.recipe["net"], "fc8": {**source145.recipe["net"]["fc8"], "units": 3}}
    return replace(source145, recipe={**source145.recipe, "net": net}, contract=tiny_prepared.contract, weights=weights)


@pytest.mark.slow
@torch.inference_mode()
def test_the_hidden_features_are_the_input_of_fc8(checkpoint: Checkpoint, tiny_prepared: PreparedStore) -> None:
    images = torch.from_numpy(np.stack([tiny_prepared.read_pixels(index) for index in range(4)]))
    hidden = feature_functions(checkpoint)["hidden layer"](images)
    logits = hidden @ torch.from_numpy(checkpoint.weights["fc8.weight"]).T + torch.from_numpy(
        checkpoint.weights["fc8.bias"]
    )
    net = TenCropNet.from_checkpoint(checkpoint).eval()
    torch.testing.assert_close(logits.softmax(1), net.predict_center(images), rtol=1e-4, atol=1e-5)


def test_the_nearest_images_are_those_that_a_plain_search_finds(
    tiny_prepared: PreparedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.figure4.BATCH", 4)  # fewer than NEAREST
    every = np.arange(len(tiny_prepared.labels))
    queries, among = every[::5], every[every % 5 > 0]
    corner = np.stack([tiny_prepared.read_pixels(int(index))[:9, :9].astype(np.float64).ravel() for index in every])
    found = find_nearest(lambda images: images[:, :9, :9].float().flatten(1), tiny_prepared, queries, among)
    expected = [
        sorted(among, key=lambda other: float(np.sum((corner[other] - corner[image]) ** 2)))[:NEAREST]
        for image in queries
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_a_picture_and_two_counts(
    checkpoint: Checkpoint, tiny_prepared: PreparedStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "checkpoint")
    options = Namespace(
        data=tiny_prepared.root, checkpoint=tmp_path / "checkpoint", images=4, picture=tmp_path / "figure4.png"
    )
    search(options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 validation images among ") and [line.split(":")[0] for line in lines[1:]] == [
        "by hidden layer",
        "by pixels",
    ]
    with Image.open(options.picture) as picture:
        assert picture.width > picture.height


def test_a_net_of_other_classes_is_refused(source145: Checkpoint, tiny_prepared: PreparedStore, tmp_path: Path) -> None:
    source145.save(tmp_path / "checkpoint")
    with pytest.raises(BadInput, match="the classes are not those of"):
        search(
            Namespace(
                data=tiny_prepared.root, checkpoint=tmp_path / "checkpoint", images=4, picture=tmp_path / "figure4.png"
            )
        )


def test_indices_are_spread_evenly_evenly() -> None:
    assert spread_evenly(np.arange(10), 3).tolist() == [0, 3, 6] and spread_evenly(np.arange(2), 5).tolist() == [0, 1]
