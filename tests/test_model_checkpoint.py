"""model/checkpoint.py: a checkpoint folder is complete or absent, and a damaged one is named."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from support.disk_calls import DiskCalls
from support.epoch_records import make_record

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.model import checkpoint as checkpoint_module
from tencrop.model.checkpoint import DOCUMENT, TRAINING, WEIGHTS, Checkpoint, DamagedCheckpoint
from tencrop.model.checksums import SUMS
from tencrop.model.contract import Contract, Label
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Conv, Linear, NetConfig

NET = NetConfig(input=12, conv1=Conv(4, 3), fc8=Linear(2), layers=("conv1 relu", "fc8"))


def make_checkpoint(mean: str = "aligned") -> Checkpoint:
    random = np.random.default_rng(0)
    net = AlexNet(NET)
    net.init(1)
    return Checkpoint(
        recipe={"name": "tiny", "net": dump(NET), "mean": mean},
        contract=Contract(resize=16, crop=12, labels=(Label("a", "ant"), Label("é", "bee 猫"))),
        statistics=PixelStatistics(
            mean=random.random((3, 16, 16), np.float32),
            colour_std=np.array([3, 2, 1], np.float32),
            colour_vectors=np.eye(3, dtype=np.float32)[::-1],  # not contiguous as it comes
        ),
        weights=net.weights(),
        progress={"history": [asdict(make_record())]},
        training={"velocity.fc8.bias": np.array([1.5, -2], np.float32), "random": np.arange(7, dtype=np.uint8)},
    )


def are_equal(a: Checkpoint, b: Checkpoint) -> bool:
    arrays = [(x.weights, y.weights) for x, y in ((a, b), (b, a))]
    arrays += [(x.training, y.training) for x, y in ((a, b), (b, a))]
    arrays += [(x.statistics.to_tensors(), y.statistics.to_tensors()) for x, y in ((a, b), (b, a))]
    equal = all(
        name in y and x[name].dtype == y[name].dtype and np.array_equal(x[name], y[name])
        for x, y in arrays
        for name in x
    )
    return equal and (a.recipe, a.contract, a.progress) == (b.recipe, b.contract, b.progress)


def test_a_saved_checkpoint_is_loaded_equal(tmp_path: Path) -> None:
    saved = make_checkpoint()
    saved.save(tmp_path / "checkpoint-0001")
    assert are_equal(Checkpoint.load(tmp_path / "checkpoint-0001"), saved)


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    saved = make_checkpoint()
    saved = replace(saved, weights={name: value.astype(np.float16) for name, value in saved.weights.items()})
    saved.save(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert are_equal(loaded, saved)
    assert {value.dtype for value in loaded.weights.values()} == {np.dtype(np.float16)}


def test_a_loaded_checkpoint_makes_the_net_that_was_saved(tmp_path: Path) -> None:
    make_checkpoint().save(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert loaded.net == NET
    again = AlexNet.from_weights(loaded.net, loaded.weights).weights()
    assert all(np.array_equal(again[name], value) for name, value in make_checkpoint().weights.items())


def test_mean_is_read_as_the_recipe_says() -> None:
    whole = make_checkpoint().statistics.mean
    np.testing.assert_array_equal(make_checkpoint("aligned").mean, whole)
    np.testing.assert_array_equal(make_checkpoint("center").mean, whole[:, 2:14, 2:14])


def test_a_checkpoint_for_prediction_has_no_training_file(tmp_path: Path) -> None:
    replace(make_checkpoint(), training={}).save(tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted([DOCUMENT, SUMS, WEIGHTS])
    assert Checkpoint.load(tmp_path / "c").training == {}


def test_a_checkpoint_is_never_saved_over(tmp_path: Path) -> None:
    make_checkpoint().save(tmp_path / "c")
    with pytest.raises(OSError, match="c"):
        replace(make_checkpoint(), progress={"history": []}).save(tmp_path / "c")
    assert are_equal(Checkpoint.load(tmp_path / "c"), make_checkpoint())
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("step", ["weights", "document", "sync", "rename"])
def test_an_interrupted_save_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    places = {
        "weights": (checkpoint_module, "save_file"),
        "document": (json, "dumps"),
        "sync": (os, "fsync"),
        "rename": (Path, "rename"),
    }
    monkeypatch.setattr(*places[step], interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_checkpoint().save(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_checkpoint_is_on_the_disk_when_its_save_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = DiskCalls(monkeypatch)
    make_checkpoint().save(tmp_path / "c")
    for name in (DOCUMENT, SUMS, WEIGHTS, TRAINING):
        calls.check(tmp_path / "c" / name)


def test_a_disk_that_fills_up_is_an_os_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        make_checkpoint().save(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_save_replaces_the_remains_of_an_interrupted_one(tmp_path: Path) -> None:
    (tmp_path / "c.partial").mkdir()
    (tmp_path / "c.partial" / TRAINING).write_bytes(b"half a file")
    replace(make_checkpoint(), training={}).save(tmp_path / "c")
    assert Checkpoint.load(tmp_path / "c").training == {}
    assert not (tmp_path / "c.partial").exists()


def test_missing_folders_are_made(tmp_path: Path) -> None:
    make_checkpoint().save(tmp_path / "runs" / "a" / "c")
    assert are_equal(Checkpoint.load(tmp_path / "runs" / "a" / "c"), make_checkpoint())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        document = json.loads((folder / DOCUMENT).read_text())
        (folder / DOCUMENT).write_text(json.dumps(change(document)))

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no document": lambda folder: (folder / DOCUMENT).unlink(),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "truncated document": lambda folder: truncate(folder / DOCUMENT),
    "truncated weights": lambda folder: truncate(folder / WEIGHTS),
    "truncated training": lambda folder: truncate(folder / TRAINING),
    "empty weights": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "rubbish in weights": lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 999),
    "rubbish in document": lambda folder: (folder / DOCUMENT).write_bytes(b"\xff\xfe\x00"),
    "a list": edit(lambda document: [document]),
    "no recipe": edit(lambda document: {k: v for k, v in document.items() if k != "recipe"}),
    "no progress": edit(lambda document: {k: v for k, v in document.items() if k != "progress"}),
    "bad contract": edit(lambda document: document | {"contract": {"resize": "256"}}),
    "unknown key in contract": edit(lambda document: document | {"contract": {"colour": "rgb"}}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_bad_input_naming_the_folder(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "checkpoint-0007"
    make_checkpoint().save(folder)
    DAMAGES[damage](folder)
    with pytest.raises(BadInput, match=str(folder)):
        Checkpoint.load(folder)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["weights", "statistics", "training"])
def test_a_tensor_that_is_not_finite_is_named(tmp_path: Path, part: str, number: float) -> None:
    name = {"weights": "fc8.bias", "statistics": "statistics.colour_std", "training": "velocity.fc8.bias"}[part]
    saved = make_checkpoint()
    tensors = saved.statistics.to_tensors() if part == "statistics" else getattr(saved, part)
    tensors[name.removeprefix("statistics.")][1] = number
    saved.save(tmp_path / "c")
    with pytest.raises(DamagedCheckpoint, match=f"{tmp_path}/c: damaged checkpoint: {name} is not finite"):
        Checkpoint.load(tmp_path / "c")


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING])
def test_a_changed_bit_of_a_tensor_file_is_noticed(tmp_path: Path, name: str) -> None:
    make_checkpoint().save(tmp_path / "c")
    content = bytearray((tmp_path / "c" / name).read_bytes())
    content[-2] ^= 1
    (tmp_path / "c" / name).write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=f"{tmp_path}/c: damaged checkpoint: {name}: its sha256 is not the one"):
        Checkpoint.load(tmp_path / "c")


def test_a_checkpoint_without_sums_is_read(tmp_path: Path) -> None:
    """Version 0.1 wrote none."""
    make_checkpoint().save(tmp_path / "c")
    (tmp_path / "c" / SUMS).unlink()
    assert are_equal(Checkpoint.load(tmp_path / "c"), make_checkpoint())


def read_net_and_mean(checkpoint: Checkpoint) -> tuple[NetConfig, np.ndarray]:
    return checkpoint.net, checkpoint.mean


NETLESS: dict[str, Callable[[Path], None]] = {
    "recipe without net": edit(lambda document: document | {"recipe": {"mean": "center"}}),
    "recipe without mean": edit(lambda document: document | {"recipe": {"net": dump(NET)}}),
    "recipe is null": edit(lambda document: document | {"recipe": None}),
    "recipe with another mean": edit(lambda document: document | {"recipe": {"net": dump(NET), "mean": "none"}}),
}


@pytest.mark.parametrize("damage", NETLESS)
def test_a_recipe_without_a_net_or_a_mean_is_bad_input(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "checkpoint-0007"
    make_checkpoint().save(folder)
    NETLESS[damage](folder)
    with pytest.raises(BadInput, match="recipe"):
        read_net_and_mean(Checkpoint.load(folder))


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_path_that_is_not_a_checkpoint_folder_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=str(tmp_path / name)):
        Checkpoint.load(tmp_path / name)
