"""training/two_columns.py: two processes with a column each train like one process with the whole net."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_recipe import assert_equal, drop_times, load_last
from torchrun import (
    EXACT,
    FROZEN,
    NOISY,
    STEPS,
    Job,
    environment,
    measure_divergence,
    read_reports,
    run_jobs,
    smooth_noise,
    torchrun,
    train_in_this_process,
)

from tencrop import cli
from tencrop.common.errors import RESUME
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net import AlexNet
from tencrop.model.net_config import Linear, NetConfig
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.training import train as train_module
from tencrop.training import two_columns as columns
from tencrop.training.parallel import World
from tencrop.training.recipe import load
from tencrop.training.trainer import Trainer
from tencrop.training.two_columns import Column, Exchange, TwoColumns

CPU = torch.device("cpu")
FIGURE_2 = {  # kernels or units of one column, and the inputs of each
    "conv1.weight": (48, 3, 11, 11),
    "conv2.weight": (128, 48, 5, 5),
    "conv3.weight": (192, 256, 3, 3),
    "conv4.weight": (192, 192, 3, 3),
    "conv5.weight": (128, 192, 3, 3),
    "fc6.weight": (2048, 256 * 6 * 6),
    "fc7.weight": (2048, 4096),
    "fc8.weight": (1000, 4096),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return smooth_noise(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="module")
def one(prepared: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of one process."""
    runs = tmp_path_factory.mktemp("one")
    train_in_this_process(prepared, Job(str(runs / "exact"), EXACT))
    train_in_this_process(prepared, Job(str(runs / "apart"), (*EXACT, "epochs=1"), "no_communication"))
    train_in_this_process(prepared, Job(str(runs / "sixth"), (*EXACT, "epochs=1", "take=[]"), "pretrain146"))
    train_in_this_process(prepared, Job(str(runs / "frozen"), FROZEN))
    return runs


@pytest.fixture(scope="module")
def two(prepared: PreparedStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of two columns."""
    runs = tmp_path_factory.mktemp("two")
    jobs = [
        Job(str(runs / "exact"), EXACT),
        Job(str(runs / "apart"), (*EXACT, "epochs=1"), "no_communication"),
        Job(str(runs / "sixth"), (*EXACT, "epochs=1", "take=[]"), "pretrain146"),
        Job(str(runs / "frozen"), FROZEN),
        Job(str(runs / "noisy"), NOISY),
        Job(str(runs / "again"), NOISY),
        Job(str(runs / "stopped"), NOISY, term=(2, 2, 0)),
        Job(str(runs / "stopped"), NOISY, resume=True),
    ]
    run_jobs(prepared, [replace(job, columns=True) for job in jobs])
    return runs


# ---- as one process


@pytest.mark.slow
@pytest.mark.parametrize("run", ["exact", "apart", "sixth", "frozen"])
def test_two_columns_train_as_the_whole_net_does(one: Path, two: Path, run: str) -> None:
    """After 5 to 20 steps, only the order of summation and switched maxima differ."""
    of_weights, of_movement = measure_divergence(load_last(one / run), load_last(two / run))
    assert of_weights < 1e-5
    assert of_movement < 1e-2
    for alone, together in zip(drop_times(load_last(one / run)), drop_times(load_last(two / run)), strict=True):
        assert together["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-5)
        assert together["train_error"] * 16 * STEPS == pytest.approx(
            alone["train_error"] * 16 * STEPS, abs=1.01
        )  # one guess may differ


@pytest.mark.slow
def test_both_processes_hold_the_same_last_layer(two: Path) -> None:
    first, second = (read_reports(two / "noisy", rank)[0]["fc8"] for rank in (0, 1))
    assert len(set(first)) == 2 * STEPS
    assert first == second


@pytest.mark.slow
def test_validation_counts_every_image_once(prepared: PreparedStore, two: Path) -> None:
    saved = load_last(two / "noisy")
    images = int(prepared.validation.sum())
    trainer = Trainer(load("source145", NOISY), prepared, World(0, 1, CPU))
    trainer.restore(saved, two)
    counts = trainer.validate()
    row = saved.progress["history"][-1]
    assert counts.n == images
    assert (row["center_top1_error"] * images, row["center_top5_error"] * images) == pytest.approx(
        (counts.top1_wrong, counts.top5_wrong)
    )


# ---- checkpoints and dropout


@pytest.mark.slow
def test_a_checkpoint_is_the_whole_net(one: Path, two: Path) -> None:
    alone, together = load_last(one / "exact"), load_last(two / "exact")
    for mine, theirs in ((alone.weights, together.weights), (alone.training, together.training)):
        assert shapes(mine) == shapes(theirs)
    assert AlexNet.from_weights(together.net, together.weights)(torch.zeros(1, 3, 224, 224)).shape == (1, 7)


@pytest.mark.slow
def test_one_process_continues_where_two_columns_stopped(
    prepared: PreparedStore, one: Path, two: Path, tmp_path: Path
) -> None:
    shutil.copytree(two / "exact" / "checkpoint-0003", tmp_path / "run" / "checkpoint-0003")
    train_in_this_process(prepared, Job(str(tmp_path / "run"), EXACT, resume=True))
    of_weights, of_movement = measure_divergence(load_last(one / "exact"), load_last(tmp_path / "run"))
    assert of_weights < 1e-5
    assert of_movement < 1e-2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(two: Path) -> None:
    assert_equal(load_last(two / "noisy"), load_last(two / "again"))


@pytest.mark.slow
def test_each_column_draws_masks_of_its_own(two: Path) -> None:
    first, second = (read_reports(two / "noisy", rank)[0]["masks"] for rank in (0, 1))
    assert len(first) == 2 * 2 * STEPS  # dropouts, epochs, steps
    assert len({*first, *second}) == 2 * len(first)


# ---- interruptions


@pytest.mark.slow
def test_a_stopped_and_resumed_run_equals_an_undisturbed_one(two: Path) -> None:
    for rank in (0, 1):
        stopped, resumed = read_reports(two / "stopped", rank)
        assert stopped["ended"] == f"Stopped: stopped in epoch 2 after 3 of {STEPS} batches; {RESUME}"
        assert stopped["checkpoints"] == ["checkpoint-0001", "checkpoint-0001+000003"]
        assert resumed["ended"] == "well"
    assert_equal(load_last(two / "stopped"), load_last(two / "noisy"))


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_what_its_processes_trained(
    prepared: PreparedStore, two: Path, tmp_path: Path
) -> None:
    """The real command, with workers that load. Torchrun passes the signal on, and ends in a traceback of its own."""
    out = tmp_path / "run"
    sets = [part for override in (*NOISY, "epochs=9") for part in ("--set", override)]
    command = (
        "train",
        "source145",
        "--data",
        str(prepared.root),
        "--out",
        str(out),
        "--workers",
        "1",
        "--columns",
        *sets,
    )
    with subprocess.Popen(
        torchrun("-m", "tencrop", *command), env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list_checkpoints(out) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert said.count("what was done is saved: go on with --resume") == 2  # each process
    assert 1 <= len(load_last(out).progress["history"]) < 9
    shorter, first = (Checkpoint.load(run / "checkpoint-0001") for run in (out, two / "noisy"))
    assert all(np.array_equal(shorter.weights[name], value) for name, value in first.weights.items())


# ---- refusals


@pytest.mark.parametrize(
    ("recipe", "sets", "processes", "message"),
    [
        ("source145", (), 1, "takes two processes, not 1; start them with torchrun --standalone --nproc-per-node=2"),
        ("source145", (), 3, "takes two processes, not 3"),
        ("paper", (), 2, "normalization reaches across the columns"),
        ("caltech101", (), 2, "normalization reaches across the columns"),
        ("one_column", (), 2, "normalization reaches across the columns"),
        ("one_column", ("net.lrn.columns=2",), 2, "does not have two columns"),
        ("source145", ("net.fc6.rank=8",), 2, "does not have two columns"),
        ("source145", ("precision=fp16",), 2, "in fp16; add --set precision=bf16 or fp32"),
        ("source145", ("net.conv3.channels=383", "net.conv4.columns=1"), 2, "odd number of kernels or units"),
        ("source145", ("net.fc7.units=4095",), 2, "odd number of kernels or units"),
    ],
)
def test_a_net_that_columns_cannot_split_is_refused_in_one_line(
    prepared: PreparedStore,
    recipe: str,
    sets: tuple[str, ...],
    processes: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train_module, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(train_module, "init_distributed", lambda: nullcontext(World(0, processes, CPU)))
    arguments = ("train", recipe, "--data", str(prepared.root), "--out", str(tmp_path / "run"), "--columns")
    monkeypatch.setattr(
        sys, "argv", ["tencrop", *arguments, *(part for override in sets for part in ("--set", override))]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tencrop: ")]
    assert ended.value.code == 2
    assert len(said) == 1 and said[0].startswith("tencrop: --columns: ") and message in said[0]
    assert not (tmp_path / "run").exists()


# ---- the halves


def shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def net_of(recipe: str, *sets: str) -> NetConfig:
    return load(recipe, sets).net


def test_images_are_not_exchanged_before_conv1_of_a_net_with_a_scale() -> None:
    thin = replace(load("source145").net, fc6=Linear(4), fc7=Linear(4), scale=(2.0, 2.0, 2.0))
    assert [*dict(Column(thin, 0).named_children())][:2] == ["scale", "conv1"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_column_has_the_shapes_of_figure_2(rank: int) -> None:
    with torch.device("meta"):
        column = Column(net_of("source145"), rank)
    weights = {name: tuple(p.shape) for name, p in column.named_parameters() if name.endswith("weight")}
    assert weights == FIGURE_2


@pytest.mark.parametrize("recipe", ["source145", "no_communication", "no_lrn", "tanh", "no_dropout", "pretrain146"])
def test_both_columns_own_the_whole_net_and_nothing_twice(recipe: str) -> None:
    net = net_of(recipe, *(override for override in NOISY if override.startswith("net.")))
    whole = AlexNet(net)
    whole.init(7)
    partitions = [TwoColumns(net, World(rank, 2, CPU)) for rank in (0, 1)]
    built = [{name: tuple(p.shape) for name, p in partition.build().named_parameters()} for partition in partitions]
    for name, value in whole.weights().items():
        own = [partition.shard(name, value) for partition in partitions]
        assert [part.shape for part in own] == [shapes[name] for shapes in built]
        halves = own[:1] if name.startswith("fc8.") else own
        np.testing.assert_array_equal(np.concatenate(halves), value)
        np.testing.assert_array_equal(own[0][:1], value[:1])
    assert built[0].keys() == built[1].keys() == whole.weights().keys()


@pytest.mark.parametrize(
    ("recipe", "sets", "layers"),
    [
        ("source145", (), ["conv3", "fc6", "fc7", "fc8"]),
        ("pretrain146", (), ["conv3", "conv6", "fc6", "fc7", "fc8"]),
        ("no_communication", (), ["fc8"]),
        ("no_communication", ("net.fc8.columns=2",), ["fc8"]),
    ],
)
def test_columns_exchange_before_the_layers_that_see_both(
    recipe: str, sets: tuple[str, ...], layers: list[str]
) -> None:
    with torch.device("meta"):
        children = list(Column(net_of(recipe, *sets), 0).named_children())
    found = [(children[i + 1][0], child.alike) for i, (_, child) in enumerate(children) if isinstance(child, Exchange)]
    assert found == [(layer, layer == "fc8") for layer in layers]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck itself reads it
def test_the_exchange_is_a_well_formed_operator(rank: int, alike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema, shapes for the compiler and registration of the gradient. The other process is played by doubling."""
    monkeypatch.setattr(columns, "_swap", lambda mine: 2 * mine)
    x = torch.rand(2, 4, 3, 3, requires_grad=True)
    torch.library.opcheck(columns._exchange, (x, rank, alike))
    torch.library.opcheck(columns._exchange_gradient, (torch.rand(2, 8, 3, 3), rank, alike))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_column_adds_both_columns_gradients_only_where_they_differ(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = torch.rand(2, 3)
    monkeypatch.setattr(columns, "_swap", lambda mine: theirs)
    up = torch.rand(2, 6)
    mine = up[:, 3 * rank : 3 * rank + 3]
    for alike, expected in ((False, mine + theirs), (True, mine)):
        x = torch.rand(2, 3, requires_grad=True)
        both = Exchange(rank, alike)(x)
        torch.testing.assert_close(both[:, 3 * rank : 3 * rank + 3], x, rtol=0, atol=0)
        both.backward(up)
        torch.testing.assert_close(x.grad, expected, rtol=0, atol=0)
