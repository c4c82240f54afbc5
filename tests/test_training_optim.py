"""training/optim.py: the paper's update rule equals numpy, and differs from torch's SGD where it should."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.epoch_records import make_record
from torch import nn

from tencrop.training.optim import Momentum
from tencrop.training.recipe import LayerRates, Optim, load
from tencrop.training.schedule import EpochSettings, compute_epoch_settings

OPTIM = Optim(momentum=0.9, lr=0.01, decay=0.0005, bias_lr=0.02, bias_decay=0.0, bias_drops=False)
BY_LAYER = replace(OPTIM, layers={"fc8": LayerRates(10.0)})
STEPS = [EpochSettings()] * 3 + [EpochSettings(scale=0.1)] * 3 + [EpochSettings(scale=0.01)] * 2


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3)
        self.fc8 = nn.Linear(4, 5)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def gradients(net: Net, step: int) -> dict[str, np.ndarray]:
    """Set new gradients on the net, and return them."""
    random = np.random.default_rng(step)
    for p in net.parameters():
        p.grad = torch.from_numpy(random.normal(size=p.shape).astype(np.float32))
    return {name: p.grad.double().numpy() for name, p in net.named_parameters() if p.grad is not None}


def values(net: Net) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy().copy() for name, p in net.named_parameters()}


def by_hand(
    w: dict[str, np.ndarray], optim: Optim, phases: list[EpochSettings], grads: list[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Section 5: v <- .9 v - decay lr w - lr g; w <- w + v."""
    v = {name: np.zeros_like(value) for name, value in w.items()}
    for now, g in zip(phases, grads, strict=True):
        for name in w:
            if name.endswith("bias"):
                lr, decay = optim.bias_lr * (now.scale if optim.bias_drops else 1), optim.bias_decay
            else:
                lr, decay = optim.lr * now.scale, optim.decay
            v[name] = optim.momentum * v[name] - decay * lr * w[name] - lr * g[name]
            w[name] = w[name] + v[name]
    return w


@pytest.mark.parametrize(
    "optim",
    [OPTIM, Optim(), Optim(decay=0.5, bias_decay=0.3, momentum=0.5), load("paper").optim, load("source145").optim],
)
def test_the_update_is_the_papers_also_across_drops_of_the_rate(net: Net, optim: Optim) -> None:
    start, momentum, grads = values(net), Momentum(net, optim), []
    for step, now in enumerate(STEPS):
        grads.append(gradients(net, step))
        momentum.step(now)
    expected = by_hand(start, optim, STEPS, grads)
    for name, value in values(net).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def against_sgd(net: Net, phases: list[EpochSettings]) -> float:
    """The largest difference from torch.optim.SGD of the same rates."""
    other = Net()
    other.load_state_dict(net.state_dict())
    optim = Optim(bias_lr=0.01, bias_decay=0.0005)
    momentum, sgd = Momentum(net, optim), torch.optim.SGD(other.parameters(), 0.01, momentum=0.9, weight_decay=0.0005)
    for step, now in enumerate(phases):
        gradients(net, step)
        gradients(other, step)
        momentum.step(now)
        sgd.param_groups[0]["lr"] = 0.01 * now.scale
        sgd.step()
    return max(float(np.abs(values(net)[name] - values(other)[name]).max()) for name in values(net))


def test_the_update_equals_torchs_sgd_while_the_rate_stays(net: Net) -> None:
    assert against_sgd(net, [EpochSettings()] * 6) < 1e-6


def test_the_update_differs_from_torchs_sgd_at_a_drop_of_the_rate(net: Net) -> None:
    assert against_sgd(net, [EpochSettings()] * 3 + [EpochSettings(scale=0.1)]) > 1e-3


def test_where_the_rate_is_0_the_update_is_skipped_momentum_included(net: Net) -> None:
    momentum = Momentum(net, OPTIM)
    gradients(net, 0)
    momentum.step(EpochSettings())
    before, velocity = values(net), {name: v.clone() for name, v in momentum.velocity.items()}
    gradients(net, 1)
    momentum.step(EpochSettings(frozen=frozenset({"conv1"})))
    for name in ("conv1.weight", "conv1.bias"):
        np.testing.assert_array_equal(values(net)[name], before[name])
        assert torch.equal(momentum.velocity[name], velocity[name])
        assert bool(velocity[name].any())
    assert (values(net)["fc8.weight"] != before["fc8.weight"]).all()
    momentum.step(EpochSettings())  # thawed, it goes on with the velocity that it had
    assert (values(net)["conv1.weight"] != before["conv1.weight"]).all()


def test_a_frozen_layer_needs_no_gradient(net: Net) -> None:
    momentum, before = Momentum(net, OPTIM), values(net)
    gradients(net, 0)
    for parameter in net.conv1.parameters():
        parameter.grad = None
    momentum.step(EpochSettings(frozen=frozenset({"conv1"})))
    assert [name for name, value in values(net).items() if np.array_equal(value, before[name])] == [
        "conv1.weight",
        "conv1.bias",
    ]


def test_a_weight_rate_of_0_leaves_the_biases_moving(net: Net) -> None:
    momentum, before = Momentum(net, Optim(lr=0.0, bias_lr=0.02)), values(net)
    gradients(net, 0)
    momentum.step(EpochSettings())
    assert np.array_equal(values(net)["fc8.weight"], before["fc8.weight"])
    assert (values(net)["fc8.bias"] != before["fc8.bias"]).all()


@pytest.mark.parametrize(
    ("name", "optim", "settings", "expected"),
    [
        ("conv1.weight", OPTIM, EpochSettings(), (0.01, 0.0005)),
        ("conv1.weight", OPTIM, EpochSettings(scale=0.1), (0.001, 0.0005)),
        ("conv1.bias", OPTIM, EpochSettings(), (0.02, 0.0)),
        ("conv1.bias", OPTIM, EpochSettings(scale=0.01), (0.02, 0.0)),  # .02 to the end
        ("conv1.bias", Optim(), EpochSettings(scale=0.1), (0.001, 0.0005)),  # the paper's drops with the rest
        ("conv1.weight", OPTIM, EpochSettings(scale=0.01, layer_lr={"conv1": 1e-5}), (1e-5, 0.0005)),
        ("conv1.bias", OPTIM, EpochSettings(layer_lr={"conv1": 1e-5}), (0.02, 0.0)),
        ("fc8.weight", OPTIM, EpochSettings(layer_lr={"conv1": 1e-5}), (0.01, 0.0005)),
        ("conv1.weight", OPTIM, EpochSettings(frozen=frozenset({"conv1"})), (0.0, 0.0)),
        ("conv1.bias", OPTIM, EpochSettings(frozen=frozenset({"conv1"})), (0.0, 0.0)),
        ("fc6.up.weight", OPTIM, EpochSettings(layer_lr={"fc6": 0.5}), (0.5, 0.0005)),
        ("fc6.up.bias", OPTIM, EpochSettings(), (0.02, 0.0)),
        ("fc8.weight", BY_LAYER, EpochSettings(), (0.1, 0.0005)),
        ("fc8.weight", BY_LAYER, EpochSettings(scale=0.1), (0.01, 0.0005)),
        ("fc8.bias", BY_LAYER, EpochSettings(scale=0.1), (0.2, 0.0)),
        ("fc8.up.weight", BY_LAYER, EpochSettings(), (0.1, 0.0005)),
        ("fc8.weight", BY_LAYER, EpochSettings(layer_lr={"fc8": 0.5}), (0.5, 0.0005)),  # a rate, not a factor
        ("fc7.weight", BY_LAYER, EpochSettings(), (0.01, 0.0005)),
    ],
)
def test_rates_and_decays_are_the_recipes(
    net: Net, name: str, optim: Optim, settings: EpochSettings, expected: tuple[float, float]
) -> None:
    assert Momentum(net, optim).choose_rates(name, settings) == pytest.approx(expected)


def test_biases_do_not_decay_in_the_2012_program(net: Net) -> None:
    momentum, before = Momentum(net, load("source145").optim), values(net)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    momentum.step(EpochSettings())
    np.testing.assert_array_equal(values(net)["fc8.bias"], before["fc8.bias"])
    np.testing.assert_allclose(values(net)["fc8.weight"], before["fc8.weight"] * (1 - 0.01 * 0.0005), rtol=1e-7)


def rates_of_2012(name: str, epoch: int) -> tuple[float, float]:
    """(lr, decay) after `epoch` epochs, as the 2012 program's files say, written out."""
    if name.startswith("conv1") and epoch >= 72:
        return 0.0, 0.0
    if name.endswith("bias"):
        return 0.02, 0.0
    if name == "conv1.weight" and epoch >= 67:
        return 1e-5, 0.0005
    return (0.01, 0.001, 0.0001, 0.00001)[(epoch >= 25) + (epoch >= 51) + (epoch >= 79)], 0.0005


def test_source145s_whole_schedule_updates_as_the_2012_program_did(net: Net) -> None:
    recipe = load("source145")
    momentum = Momentum(net, recipe.optim)
    w = values(net)
    v = {name: np.zeros_like(value) for name, value in w.items()}
    for epoch in range(91):
        now = compute_epoch_settings(recipe, [make_record()] * epoch)
        assert now is not None
        g = gradients(net, epoch)
        momentum.step(now)
        for name in w:
            lr, decay = rates_of_2012(name, epoch)
            if lr:  # else skipped, momentum included
                v[name] = 0.9 * v[name] - decay * lr * w[name] - lr * g[name]
                w[name] = w[name] + v[name]
    for name, value in values(net).items():
        np.testing.assert_allclose(value, w[name], rtol=1e-5, atol=2e-6, err_msg=name)


def test_loss_scaling_can_step_the_optimizer(net: Net) -> None:
    """The scaler divides the gradients itself, and skips the step where one is no number."""
    momentum, scaler = Momentum(net, OPTIM), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))  # begins
    start, grads = values(net), [gradients(net, 0)]
    for p in net.parameters():
        assert p.grad is not None
        p.grad.mul_(8)
    scaler.step(momentum, EpochSettings())
    scaler.update()
    expected = by_hand(start, OPTIM, [EpochSettings()], grads)
    for name, value in values(net).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    gradients(net, 1)
    assert net.fc8.bias.grad is not None
    net.fc8.bias.grad[0] = float("inf")
    before = values(net)
    scaler.step(momentum, EpochSettings())
    scaler.update()
    assert all(np.array_equal(value, before[name]) for name, value in values(net).items())
    assert scaler.get_scale() == 4.0
