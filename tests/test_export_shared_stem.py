"""export/shared_stem.py: views that share their first layers are exact, and share only where sharing is exact."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tencrop.export.net_graph import build_net_graph
from tencrop.export.shared_stem import find_stem
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract, Label
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Conv, Linear, NetConfig, Pool
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice
from tencrop.training.recipe import load, to_plain

CPU = EngineChoice("onnxruntime", "cpu", "fp32")
TANH_FIRST = ("conv1 tanh lrn pool", *NetConfig().layers[1:])
POOL_FIRST = ("conv1 pool lrn relu", *NetConfig().layers[1:])


def make_checkpoint(net: NetConfig, contract: Contract, mean: str = "aligned") -> Checkpoint:
    """A checkpoint of thin layers with large activations, and a mean image that differs at every pixel."""
    random = np.random.default_rng(7)
    conv = {name: replace(getattr(net, name), channels=16) for name in ("conv2", "conv3", "conv4", "conv5")}
    net = replace(net, conv1=replace(net.conv1, channels=8), **conv, fc6=Linear(32), fc7=Linear(32), fc8=Linear(5))
    weights = {}
    for name, value in AlexNet(net).weights().items():
        spread = np.sqrt(2 / np.prod(value.shape[1:])) if name.endswith("weight") else 0.5
        weights[name] = random.normal(0, spread, value.shape).astype(np.float32)
    side = contract.resize
    statistics = PixelStatistics(
        random.uniform(90, 140, (3, side, side)).astype(np.float32), np.ones(3, np.float32), np.eye(3, dtype=np.float32)
    )
    contract = replace(contract, labels=tuple(Label(f"{i}", f"{i}") for i in range(5)))
    recipe = to_plain(replace(load("caltech101"), net=net)) | {"mean": mean}
    return Checkpoint(recipe, contract, statistics, weights)


def build_graph(saved: Checkpoint, plain: bool = False) -> onnx.ModelProto:
    return build_tencrop_graph(build_net_graph(saved), saved.contract, saved.mean, plain)


def count_first_convolutions(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Conv" and node.input[1] == "net/conv1.weight" for node in model.graph.node)


@pytest.mark.parametrize(
    "net",
    [
        NetConfig(),
        NetConfig(layers=TANH_FIRST),
        NetConfig(layers=POOL_FIRST),
        NetConfig(pool=Pool(2), conv2=Conv(256, 5, pad=(1, 1), groups=2), conv5=Conv(256, 3, groups=2)),
    ],
    ids=["paper", "tanh", "norm behind the pooling", "no overlap"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_shared_and_plain_agree_on_every_view(net: NetConfig, batch: int) -> None:
    saved = make_checkpoint(net, Contract())
    images = np.random.default_rng(batch).integers(0, 256, (batch, 256, 256, 3), np.uint8)
    shared, plain = build_graph(saved), build_graph(saved, plain=True)
    assert count_first_convolutions(shared) == 4  # the image, its mirror image and two kinds of strips
    assert count_first_convolutions(plain) == 1  # all views at once
    want, got = (open_engine(model.SerializeToString(), CPU).run(images) for model in (plain, shared))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-6)
    assert np.ptp(want["view_probabilities"], axis=1).max() > 0.001  # views differ by more than 1e-6


@pytest.mark.parametrize(
    ("net", "contract", "mean"),
    [
        (NetConfig(), Contract(), "center"),
        (NetConfig(), Contract(resize=250), "aligned"),
        (NetConfig(conv1=Conv(96, 11, stride=4, pad=(2, 1))), Contract(), "aligned"),
        (NetConfig(layers=("conv1 relu", *NetConfig().layers[1:])), Contract(), "aligned"),
        (NetConfig(conv1=Conv(96, 8, stride=4)), Contract(), "aligned"),
    ],
    ids=[
        "a mean for each place of a crop",
        "corners between the strides",
        "zeros before the crop",
        "two convolutions",
        "none behind it",
    ],
)
def test_views_do_not_share_where_sharing_is_not_exact(net: NetConfig, contract: Contract, mean: str) -> None:
    saved = make_checkpoint(net, contract, mean)
    assert count_first_convolutions(build_graph(saved)) == 1


def test_in_the_paper_26_of_27_values_of_the_first_layers_see_no_zeros() -> None:
    stem = find_stem(build_net_graph(make_checkpoint(NetConfig(), Contract())), 224)
    assert stem is not None
    assert (stem.stride, stem.inside, stem.behind) == (8, 26, 1)
    assert [node.op_type for node in stem.nodes] == ["Conv", "Relu", "LRN", "MaxPool"]


def test_views_of_the_embedded_model_share_the_stem(embedded: Checkpoint) -> None:
    assert count_first_convolutions(build_graph(embedded)) == 4
