"""`tencrop train`: a recipe and a prepared store into a run folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tencrop.commands.output import echo, say_next
from tencrop.commands.progress import show_progress
from tencrop.common.errors import BadInput
from tencrop.common.extras import require

if TYPE_CHECKING:
    from tencrop.model.run_progress import EpochRecord

LINEAR = "linear"  # in the place of a recipe


def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="name of a recipe (paper, source145, caltech101, ...) or a TOML file"),
    ],
    data: Annotated[Path, typer.Option(metavar="DIR", help="a prepared data set")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="the run folder")],
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="the net to fine-tune: a checkpoint, a run, or the folder of an export or import"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue after the run's last checkpoint")] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="continue after this checkpoint of the run, and rename newer ones"),
    ] = None,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="change a field of the recipe")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="number of loading processes; default: one per spare core")
    ] = None,
    columns: Annotated[
        bool, typer.Option("--columns", help="put the net's two columns on two devices, under torchrun")
    ] = False,
) -> None:
    """Train by the paper's regimen. torchrun starts it on several devices.

    The word `linear` in the place of RECIPE fits the last layer alone, by logistic regression on the net of --start.
    """
    require("train")
    if recipe == LINEAR:
        if resume or resume_from or set or workers is not None or columns:
            raise BadInput("train linear: takes --data, --start and --out")
        _train_linear(data, start, out)
        return
    from tencrop.dataset.prepared_store import PreparedStore
    from tencrop.training.recipe import load
    from tencrop.training.torch_messages import silence_torch
    from tencrop.training.train import train as run

    silence_torch()
    begin = [f"start={json.dumps(str(start))}"] if start else []  # a JSON string is one in TOML too
    plan = load(recipe, [*(set or ()), *begin])
    prepared = PreparedStore.open(data)
    images = int((~prepared.validation).sum())
    is_reporter = os.environ.get("RANK", "0") == "0"  # one of the processes that torchrun started
    with show_progress("training", plan.epochs, "epochs", is_reporter) as update:

        def progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
            speed = f"loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s"
            update(epoch - 1 + share, f"{share * images:.0f} of {images} images, {speed}")

        history = run(plan, prepared, out, resume, workers, progress, columns, resume_from)
    if is_reporter:
        _tell_end(out, f"{len(history)} epochs", history[-1])


def _train_linear(data: Path, start: Path | None, out: Path) -> None:
    from tencrop.dataset.prepared_store import PreparedStore
    from tencrop.model.embedded import EMBEDDED
    from tencrop.model.run_checkpoints import find_checkpoint
    from tencrop.training.linear import train_linear

    prepared = PreparedStore.open(data)
    with show_progress("computing", len(prepared.labels)) as progress:
        record = train_linear(find_checkpoint(start or EMBEDDED), prepared, out, progress)
    _tell_end(out, f"{record.seconds:.0f} s", record)


def _tell_end(out: Path, effort: str, last: "EpochRecord") -> None:
    errors = f"center top-1 error {last.center_top1_error:.2%}, top-5 {last.center_top5_error:.2%}"
    echo(f"{out}: {effort}, {errors}")
    say_next("export", out, "out")
