"""bench/training.py: all rows train the same net, and the clock leaves the warm-up out."""

import copy

import pytest
import torch
from torch import nn

from bench import imagenet_script
from bench.clock import Clock
from bench.loading import WORKER_US
from bench.training import render_report, use_torch_lrn
from tencrop.model.net import AlexNet
from tencrop.training.recipe import load

CLASSES = 7


@pytest.fixture(scope="module")
def ours() -> AlexNet:
    """The recipe's net, its weights drawn wide enough for the response normalization to matter."""
    config = load("caltech101", [f"net.fc8.units={CLASSES}"]).net
    net = AlexNet(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 200
            parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    return net.eval()


def logits(net: nn.Module) -> torch.Tensor:
    images = torch.empty(2, 3, 224, 224).normal_(0, 70, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        answer: torch.Tensor = net.eval()(images)
    return answer


@pytest.mark.slow
def test_the_script_trains_the_net_of_the_recipe(ours: AlexNet) -> None:
    theirs = imagenet_script.build_net(CLASSES)
    assert [p.shape for p in theirs.parameters()] == [p.shape for p in ours.parameters()]
    with torch.no_grad():
        for (name, own), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            its.copy_(
                own * 0.5 if name in ("fc7.weight", "fc8.weight") else own
            )  # ours halves what dropout let through
    expected = logits(ours)
    torch.testing.assert_close(logits(theirs), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_torch_response_normalization_computes_the_same_net(ours: AlexNet) -> None:
    changed = copy.deepcopy(ours)
    use_torch_lrn(changed, ours.config)
    assert [type(changed.get_submodule(name)) for name in ("lrn1", "lrn2")] == [nn.LocalResponseNorm] * 2
    expected = logits(ours)
    torch.testing.assert_close(logits(changed), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    without = copy.deepcopy(ours)
    without.lrn1 = nn.Identity()
    assert (
        logits(without) - expected
    ).abs().max() > 0.05 * expected.abs().max()  # so the comparison would notice a missing norm


def test_the_clock_leaves_the_warm_up_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 101.0, 102.0, 103.0])  # at the start; then at 20, 30, 40 and 50 images
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock(seconds=2.5, warm_up=20)
    clock.count([10] * 9)
    assert clock.timing() == {"images_per_s": 10.0, "images": 30, "seconds": 3.0, "warm_up_seconds": 100.0}


def test_the_report_divides_medians() -> None:
    rounds = {"ours": [80.0, 100.0, 90.0], "script": [20.0, 25.0, 30.0]}
    text = render_report(
        {name: [{"images_per_s": value} for value in values] for name, values in rounds.items()}, "a machine"
    )
    assert "| 25.0 | 20.0, 30.0 | 3.60 x |" in text
    assert "ours / script: 3.60 (each round: 4.00, 4.00, 3.00)" in text
    assert "loader / step" not in text


def test_the_report_has_the_workers_cpu_time_of_each_store() -> None:
    rounds = {"loader": [700.0, 600.0, 650.0], "raw": [20.0, 30.0, 21.0]}
    timings = {name: [{"images_per_s": 1.0, WORKER_US: us} for us in each] for name, each in rounds.items()}
    lines = render_report(timings, "a machine").splitlines()
    assert "loader: 650.0 us of CPU an image in the workers" in lines
    assert "raw: 21.0 us of CPU an image in the workers; goal: at most 25" in lines
