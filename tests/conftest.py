"""Fixtures that several files share: two photographs, a tiny data set, the embedded model, a small net."""

import importlib.util
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from bench.doors.null_model import write_null_model
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract, Label
from tencrop.model.embedded import EMBEDDED
from tencrop.model.feature_output import with_features
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Linear
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions
from tencrop.training.recipe import load, to_plain

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the tests compute on CPUs, on a machine with a GPU too
# A shell's `make test &` ignores SIGINT, and `nohup` SIGHUP. So would the servers that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many processes as this one may use cores, for `-n auto`: xdist itself knows no container's limit."""
    return cores()


@pytest.fixture(autouse=True)
def _log_left_alone() -> Iterator[None]:
    """Take back what a command of the test set: how much is logged."""
    yield
    for name in ("tencrop", "uvicorn"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def process_left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training in the tests' process leaves its allocator and its random state as they are."""
    monkeypatch.setattr("tencrop.training.train.keep_freed_memory", lambda: None)
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium."""
    from support.chromium import open_chromium  # most tests need no browser

    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def photographs() -> dict[str, Path]:
    """Paths of china.jpg and flower.jpg in scikit-learn's wheel, by the names `china` and `flower`."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    images = Path(spec.origin).parent / "datasets" / "images"
    return {name: images / f"{name}.jpg" for name in ("china", "flower")}


def stripes(label: int, number: int) -> np.ndarray:
    """Draw a picture by a formula, uint8 [60,80,3]. The class sets the colour and the direction of its stripes."""
    y, x = np.mgrid[0:60, 0:80]
    along = (x, y, x + y)[label % 3]
    wave = 100 + 80 * np.sin(along / (3 + label) + number)
    tint = np.array([(1.0, 0.4, 0.2), (0.2, 1.0, 0.4), (0.3, 0.4, 1.0)][label % 3])
    return np.asarray(wave[:, :, None] * tint + number % 7, np.uint8)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten PNGs, and ant/broken.png, which is no image."""
    root = tmp_path_factory.mktemp("tiny_folder")
    for label, name in enumerate(("ant", "bee_hive", "cat")):
        (root / name).mkdir()
        for number in range(10):
            Image.fromarray(stripes(label, number)).save(root / name / f"{number}.png")
    (root / "ant" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    return root


@pytest.fixture(scope="session")
def tiny_prepared(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    """The prepared store of the tiny folder. A fifth of each class is held out."""
    out = tmp_path_factory.mktemp("tiny_prepared")
    prepare(open_source(tiny_folder), out, 0.2, lambda done: None)
    return PreparedStore.open(out)


@pytest.fixture(scope="session")
def tiny_raw(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    """The same as a raw store."""
    out = tmp_path_factory.mktemp("tiny_raw")
    prepare(open_source(tiny_folder), out, 0.2, lambda done: None, "raw")
    return PreparedStore.open(out)


@pytest.fixture(scope="session")
def embedded() -> Checkpoint:
    """The checkpoint that ships with the server."""
    return Checkpoint.load(EMBEDDED / "checkpoint")


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The embedded model in fp32."""
    return open_classifier(EMBEDDED, EngineOptions("cpu", "auto", "fp32"))


@pytest.fixture(scope="session")
def feature_net() -> Classifier:
    """The embedded model in fp32, which gives the features of fc7 and fc6."""
    file = with_features(with_features(TenCropFile.read(EMBEDDED), "fc7"), "fc6")
    return Classifier(file, open_engine(file.graph, EngineChoice("openvino", "cpu", "fp32")))


@pytest.fixture(scope="session")
def null_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tencrop.onnx that answers at once, for servers whose net does not matter. Its name is `null`."""
    folder = tmp_path_factory.mktemp("models") / "null"
    folder.mkdir()
    return write_null_model(folder, classes=50)


@pytest.fixture(scope="session")
def source145() -> Checkpoint:
    """Recipe source145 with narrow fully connected layers, ten classes, and seeded weights. Activations stay large."""
    return _make_narrow("source145", seed=145)


@pytest.fixture(scope="session")
def finetune146() -> Checkpoint:
    """Recipe finetune146, the net with a sixth convolutional layer, narrow and seeded like `source145`."""
    return _make_narrow("finetune146", seed=146)


def _make_narrow(name: str, seed: int) -> Checkpoint:
    recipe = load(name)
    net = replace(recipe.net, fc6=Linear(64), fc7=Linear(64), fc8=Linear(10))
    random = np.random.default_rng(seed)
    weights = {}
    for name, value in AlexNet(net).weights().items():
        spread = np.sqrt(2 / np.prod(value.shape[1:])) if name.endswith("weight") else 0.1
        weights[name] = random.normal(0, spread, value.shape).astype(np.float32)
    statistics = PixelStatistics(
        random.uniform(90, 140, (3, 256, 256)).astype(np.float32), np.ones(3, np.float32), np.eye(3, dtype=np.float32)
    )
    labels = tuple(Label(f"class{i}", f"class {i}") for i in range(10))
    plain = to_plain(replace(recipe, net=net))
    return Checkpoint(plain, Contract(labels=labels), statistics, weights)
