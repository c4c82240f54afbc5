"""export/shared_layers.py: views that share their first layers are exact, and share only where sharing is exact."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tencrop.export.graph_builder import GraphBuilder
from tencrop.export.net_graph import build_net_graph
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.export.view_maps import ViewMaps
from tencrop.export.window import Window
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract, Label
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.model.net import AlexNet
from tencrop.model.net_config import LRN, Conv, Linear, NetConfig, Pool
from tencrop.runtime.engine import open_engine
from tencrop.runtime.engine_choice import EngineChoice
from tencrop.training.recipe import load, to_plain

CPU = EngineChoice("onnxruntime", "cpu", "fp32")
TANH_FIRST = ("conv1 tanh lrn pool", *NetConfig().layers[1:])
POOL_FIRST = ("conv1 pool lrn relu", *NetConfig().layers[1:])


def make_checkpoint(net: NetConfig, contract: Contract, mean: str = "aligned") -> Checkpoint:
    """A checkpoint of thin layers with large activations, and a mean image that differs at every pixel."""
    random = np.random.default_rng(7)
    thin = [name for name in ("conv2", "conv3", "conv4", "conv5", "conv6") if getattr(net, name)]
    conv = {name: replace(getattr(net, name), channels=16) for name in thin}
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


def count_convolutions(model: onnx.ModelProto, layer: str = "conv1") -> int:
    """How often a layer's kernels slide over something: once where nothing is shared."""
    return sum(node.op_type == "Conv" and node.input[1] == f"net/{layer}.weight" for node in model.graph.node)


def pad_before(pad: tuple[int, int]) -> NetConfig:
    return NetConfig(conv1=Conv(96, 11, stride=4, pad=pad))


NETS = {
    "paper": NetConfig(),
    "tanh": NetConfig(layers=TANH_FIRST),
    "norm behind the pooling": NetConfig(layers=POOL_FIRST),
    "norm inside columns": NetConfig(lrn=LRN(groups=2)),
    "a sixth convolution": load("finetune146").net,
    "no overlap": NetConfig(pool=Pool(2), conv2=Conv(256, 5, pad=(1, 1), groups=2), conv5=Conv(256, 3, groups=2)),
    "zeros before the crop": pad_before((2, 1)),
    "zeros on all sides, as torchvision's": pad_before((2, 2)),
    "no zeros": pad_before((0, 0)),
    "more zeros in conv2": NetConfig(conv2=Conv(256, 5, pad=(4, 0), groups=2)),
    "two convolutions before the first pooling": NetConfig(layers=("conv1 relu", *NetConfig().layers[1:])),
}


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_shared_and_plain_agree_on_every_view(net: NetConfig) -> None:
    saved = make_checkpoint(net, Contract())
    images = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), np.uint8)
    shared, plain = build_graph(saved), build_graph(saved, plain=True)
    assert count_convolutions(shared, "conv2") > 1 == count_convolutions(plain, "conv2")
    want, got = (open_engine(model.SerializeToString(), CPU).run(images) for model in (plain, shared))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-6)
    assert np.ptp(want["view_probabilities"], axis=1).max() > 0.001  # views differ by more than 1e-6


@pytest.mark.parametrize(
    ("net", "contract", "mean"),
    [
        (NetConfig(), Contract(), "center"),
        (NetConfig(), Contract(resize=250), "aligned"),
        (NetConfig(), Contract(resize=251), "aligned"),
        (NetConfig(layers=("conv1 relu samemap pool", *NetConfig().layers[1:])), Contract(), "aligned"),
    ],
    ids=[
        "a mean for each place of a crop",
        "corners between the strides",
        "other corners in the mirror image",
        "a norm over places",
    ],
)
def test_views_share_nothing_behind_what_is_not_exact(net: NetConfig, contract: Contract, mean: str) -> None:
    saved = make_checkpoint(net, contract, mean)
    assert count_convolutions(build_graph(saved), "conv2") == 1


def test_sizes_of_the_papers_net() -> None:
    """The counts of positions of a mirror image: conv1, pool1, conv2, pool2, conv3, conv4."""
    maps, counted = ViewMaps("", 256, 224, 0, 0, ((0, 0), (0, 32), (16, 16), (32, 0), (32, 32)), {}), []
    for window in (
        Window(11, 4, 0, 3, False),
        Window(3, 2, 0, 0, True),
        Window(5, 1, 2, 2, False),
        Window(3, 2, 0, 0, True),
        Window(3, 1, 1, 1, False),
        Window(3, 1, 1, 1, False),
    ):
        behind = maps.predict(window)
        assert behind is not None
        maps = behind
        frames = sum(rectangle.places for rectangle in maps.rectangles.values())
        counted.append((maps.side, maps.before, maps.behind, maps.extent**2, len(maps.corners) * frames))
    assert counted[1:3] == [(27, 0, 1, 30**2, 5 * 53), (27, 2, 3, 676, 1225)]
    assert counted[4:] == [(13, 2, 3, 100, 525), (13, 3, 4, 64, 665)]


def test_a_window_that_ends_beyond_the_map_is_padded_there() -> None:
    """GoogLeNet's poolings: OpenVINO refuses a window that is larger than what it is given."""
    maps = ViewMaps("maps", 144, 112, 0, 0, ((0, 0), (32, 32)), {})
    behind = maps.predict(Window(3, 2, 0, 0, rounds_up=True))
    assert behind is not None and behind.rectangles["right"].columns == (55, 56)
    graph = GraphBuilder()
    seen = {}

    def add(part: str, x: str, zeros: tuple[int, int, int, int]) -> str:
        seen[part] = zeros
        return part

    maps.slide(graph, "pool", Window(3, 2, 0, 0, rounds_up=True), add)
    assert seen == {"bottom": (0, 0, 1, 1), "right": (0, 0, 0, 1), "whole": (0, 0, 0, 0)}


def test_views_of_the_embedded_model_share_three_convolutions(embedded: Checkpoint) -> None:
    shared = build_graph(embedded)
    assert [count_convolutions(shared, f"conv{n}") for n in (1, 2, 3, 4, 5)] == [3, 5, 5, 1, 1]
    assert len(shared.SerializeToString()) - len(build_graph(embedded, plain=True).SerializeToString()) < 200_000


def make_random_net(seed: int) -> tuple[onnx.ModelProto, Contract]:
    """A chain of convolutions, poolings and pointwise operators of random sizes, for crops of a random contract."""
    random = np.random.default_rng(seed)
    far = 2 * int(random.integers(2, 9))
    contract = Contract(resize=int(random.integers(24, 40)) + far, crop=1, labels=(Label("a", "a"), Label("b", "b")))
    contract = replace(contract, crop=contract.resize - far)
    graph, value, maps, side = GraphBuilder(), "input", 3, contract.crop
    for number in range(int(random.integers(2, 7))):
        size, stride = int(random.integers(1, 6)), int(random.choice([1, 1, 2, 4]))
        name, window = f"n{number}", {"kernel_shape": [size] * 2, "strides": [stride] * 2}
        if random.random() < 0.6:
            before, behind = (int(pad) for pad in random.integers(0, size + 1, 2))
            side = (side + before + behind - size) // stride + 1
            kernels = graph.add_constant(f"{name}.w", random.normal(0, 0.5, (4, maps, size, size)).astype(np.float32))
            value = graph.add_node("Conv", name, value, kernels, **window, pads=[before, before, behind, behind])
            maps = 4
        else:
            rounds_up = int(stride <= size and random.random() < 0.5)  # onnx and its runtimes disagree on gaps
            starts = [start for start in range(0, side, stride) if start + size <= side]
            if rounds_up and starts[-1] + size < side and starts[-1] + stride < side:
                starts.append(starts[-1] + stride)
            side = len(starts)
            value = graph.add_node("MaxPool", name, value, **window, ceil_mode=rounds_up)
        value = graph.add_node(str(random.choice(["Relu", "Tanh"])), f"{name}.f", value)
        if side < 8:
            break
    flat = graph.add_node("Flatten", "flat", value, axis=1)
    matrix = graph.add_constant("m", random.normal(0, 0.1, (2, maps * side * side)).astype(np.float32))
    graph.add_node("Gemm", "logits", flat, matrix, transB=1)
    return graph.build("net", {"input": ("N", 3, *[contract.crop] * 2)}, {"logits": ("N", 2)}), contract


@pytest.mark.parametrize("seed", range(60))
def test_random_nets_share_exactly(seed: int) -> None:
    net, contract = make_random_net(seed)
    side = contract.resize
    random = np.random.default_rng(seed)
    mean = random.uniform(90, 140, (3, side, side)).astype(np.float32)
    images = random.integers(0, 256, (2, side, side, 3), np.uint8)
    shared, plain = (build_tencrop_graph(net, contract, mean, plain=is_plain) for is_plain in (False, True))
    want, got = (open_engine(model.SerializeToString(), CPU).run(images) for model in (plain, shared))
    np.testing.assert_allclose(got["view_probabilities"], want["view_probabilities"], rtol=0, atol=1e-5)
