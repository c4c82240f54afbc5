"""Measures the speed of `tencrop train` beside pytorch/examples' imagenet script, and what each part of it contributes.

python -m bench.training --data PREPARED --raw RAW --photos FOLDER [--seconds 60] [--rounds 2] [--rows NAME ...]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, repeat
from pathlib import Path

import torch
from torch import nn

from bench import imagenet_script
from bench.clock import Clock, Timing
from bench.loading import WORKER_US, time_loader
from bench.machine import describe_machine
from tencrop.common.errors import Stopped
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.layer_table import layer_table
from tencrop.model.net_config import NetConfig
from tencrop.model.run_progress import EpochRecord
from tencrop.runtime.allocator import keep_freed_memory
from tencrop.training.loader import Batch, Loader, spare_cores
from tencrop.training.parallel import init_distributed
from tencrop.training.recipe import load
from tencrop.training.schedule import EpochSettings
from tencrop.training.stop_signal import Stop
from tencrop.training.trainer import Trainer

RECIPE = "caltech101"
STOCK = 4  # batches that a loader worker may hold ready; it makes them while the step compiles
WARM_UP = 10  # batches before the measurement, besides the stock; compilation falls into them
GOALS = {("ours", "script"): 3.5, ("loader", "step"): 3.0}  # least ratios
RAW_GOAL = 25  # most microseconds of CPU that the workers take for an image of a raw store


@dataclass(frozen=True)
class Variant:
    """A way to run `tencrop train` that differs from the shipped one in one thing."""

    about: str
    overrides: tuple[str, ...] = ()  # of the recipe
    repeat_batch: bool = False  # train on the first batch only
    torch_lrn: bool = False
    keep_freed: bool = True


VARIANTS = {
    "ours": Variant("`tencrop train` as shipped, data loading included"),
    "step": Variant("the step alone: one batch, repeated", repeat_batch=True),
    "eager": Variant("ours, not compiled", ("compile=false",)),
    "fp32": Variant("ours, fp32 instead of bf16", ("precision=fp32",)),
    "lrn": Variant("ours, with torch's LocalResponseNorm", torch_lrn=True),
    "malloc": Variant("ours, with glibc's allocator not tuned", keep_freed=False),
}
ABOUT = {
    "ours": VARIANTS["ours"].about,
    "script": "pytorch/examples' imagenet script: same net and batch, eager fp32",
    "loader": "the loader alone: nothing is trained",
    "raw": "the same with the raw store",
    **{name: variant.about for name, variant in VARIANTS.items()},
}


class RepeatedBatch(Loader):
    """A loader that repeats its first batch."""

    first: Batch | None = None

    def iter_epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The first batch, as often as an epoch has batches."""
        self.first = self.first or next(super().iter_epoch(1))
        return repeat(self.first, len(self) - done)


def run_row(name: str, options: argparse.Namespace, clock: Clock) -> Timing:
    """Run row `name` until the clock's time is over."""
    if name in ("loader", "raw"):
        store = PreparedStore.open(options.data if name == "loader" else options.raw)
        return time_loader(store, load(RECIPE), clock)
    if name == "script":
        clock.count(imagenet_script.train_steps(options.photos, load(RECIPE).optim, spare_cores()))
    else:
        train_variant(VARIANTS[name], PreparedStore.open(options.data), clock)
    return clock.timing()


def train_variant(variant: Variant, prepared: PreparedStore, clock: Clock) -> None:
    """Train epoch after epoch like training/train.py, without validation and checkpoints in between."""
    recipe = load(RECIPE, variant.overrides)
    if variant.keep_freed:
        keep_freed_memory()
    with init_distributed() as world:
        trainer = Trainer(recipe, prepared, world)
        if variant.torch_lrn:
            use_torch_lrn(trainer.net, trainer.recipe.net)
        loader = RepeatedBatch(prepared, recipe, 0) if variant.repeat_batch else Loader(prepared, recipe, spare_cores())
        stop = Stop()

        def progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
            stop.requested = clock.record(round((epoch - 1 + share) * len(loader)) * loader.order.batch)

        while not stop.requested:
            try:
                passed = trainer.train_epoch(loader, EpochSettings(), stop, progress)
            except Stopped:
                return
            means = (recipe.optim.lr, passed.loss, passed.error, passed.images_per_s)
            trainer.end_epoch(EpochRecord(trainer.epoch_number, *means, 1.0, 1.0, 0.0))  # not validated


def use_torch_lrn(net: nn.Module, config: NetConfig) -> None:
    """Replace our LRN by torch's module, which divides alpha by the window size too."""
    for name, spec in ((layer.name, layer.spec) for layer in layer_table(config) if layer.op == "lrn"):
        setattr(net, name, nn.LocalResponseNorm(spec.size, spec.alpha_each * spec.size, spec.beta, spec.k))


def measure_row(name: str, options: argparse.Namespace) -> Timing:
    """Measure a row in a process of its own, with an empty compiler cache."""
    arguments = [
        f"--data={options.data}",
        f"--photos={options.photos}",
        f"--seconds={options.seconds}",
        f"--row={name}",
    ]
    arguments += [f"--raw={options.raw}"] if options.raw else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        done = subprocess.run(
            [sys.executable, "-m", "bench.training", *arguments],
            stdout=subprocess.PIPE,
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache},
        )
    if done.returncode:
        sys.exit(f"row {name} failed")
    timing: Timing = json.loads(done.stdout)
    return timing


def render_report(rounds: Mapping[str, Sequence[Timing]], where: str) -> str:
    """Markdown: the median and the range of each row over the rounds, and the ratios that have a goal."""
    speeds = {name: [timing["images_per_s"] for timing in timings] for name, timings in rounds.items()}
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    lines = [
        f"{where}; batches of {load(RECIPE).optim.batch}",
        "",
        "| row | | images/s | from, to | ours / row |",
        "|---|---|---|---|---|",
    ]
    for name, values in speeds.items():
        times = f"{middle['ours'] / middle[name]:.2f} x" if "ours" in middle else ""
        lines.append(
            f"| {name} | {ABOUT[name]} | {middle[name]:.1f} | {min(values):.1f}, {max(values):.1f} | {times} |"
        )
    for (above, below), goal in GOALS.items():
        if above in speeds and below in speeds:
            each = ", ".join(f"{a / b:.2f}" for a, b in zip(speeds[above], speeds[below], strict=True))
            lines += [
                "",
                f"{above} / {below}: {middle[above] / middle[below]:.2f} (each round: {each}); goal: {goal}",
            ]
    for name, timings in rounds.items():
        if WORKER_US in timings[0]:
            taken = statistics.median(timing[WORKER_US] for timing in timings)
            goal_of_raw = f"; goal: at most {RAW_GOAL}" if name == "raw" else ""
            lines += ["", f"{name}: {taken:.1f} us of CPU an image in the workers{goal_of_raw}"]
    return "\n".join(lines)


def main() -> None:
    """Measure the rows in turns, round by round, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared data set")
    parser.add_argument("--raw", type=Path, help="the same as a raw store, for the row raw")
    parser.add_argument("--photos", type=Path, required=True, help="the photographs behind --data, a folder per class")
    parser.add_argument("--seconds", type=float, default=60, help="for each row, after its warm-up")
    parser.add_argument("--rounds", type=int, default=2, help="how often to measure")
    parser.add_argument("--rows", nargs="+", choices=ABOUT, default=list(ABOUT), metavar="NAME", help=", ".join(ABOUT))
    parser.add_argument("--json", type=Path, help="where to write every measurement")
    parser.add_argument(
        "--row", choices=ABOUT, metavar="NAME", help="measure this row in this process and print it as JSON"
    )
    options = parser.parse_args()
    if options.row:
        clock = Clock(options.seconds, load(RECIPE).optim.batch * (WARM_UP + STOCK * spare_cores()))
        print(json.dumps(run_row(options.row, options, clock)))
        return
    if "raw" in options.rows and not options.raw:
        parser.error("the row raw takes --raw, or name other --rows")
    rounds: dict[str, list[Timing]] = {name: [] for name in options.rows}
    for number, name in product(range(1, options.rounds + 1), options.rows):
        rounds[name].append(timing := measure_row(name, options))
        speed, warm_up = timing["images_per_s"], timing["warm_up_seconds"]
        print(
            f"round {number} of {options.rounds}: {name} {speed:.1f} images/s, warm-up {warm_up:.0f} s",
            file=sys.stderr,
        )
    where = f"{describe_machine()}, {spare_cores()} of the cores loading, torch {torch.__version__}"
    if options.json:
        options.json.write_text(json.dumps({"machine": where, "rows": rounds}, indent=1) + "\n")
    print(render_report(rounds, where))


if __name__ == "__main__":
    main()
