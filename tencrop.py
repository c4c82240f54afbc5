"""The front door: `tencrop COMMAND`. Each room is imported only when its command runs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from model.errors import BadInput, WorkFailed

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def prepare(
    data: Annotated[Path, typer.Argument(help="a folder of class folders")],
    out: Annotated[Path, typer.Argument(help="where the prepared form goes; begun ones are finished")],
    labels: Annotated[Path | None, typer.Option(help='a file of lines "id words"')] = None,
    holdout: Annotated[float, typer.Option(min=0, max=0.9, help="share of each class kept for validation")] = 0.15,
) -> None:
    """Turn a data set into 256x256 JPEGs with its mean image and colour PCA."""
    from dataset.layouts import open_folder
    from dataset.prepared import prepare as run

    source = open_folder(data, labels)
    with _bar("preparing", len(source.entries)) as progress:
        document = run(source, out, holdout, progress)
    typer.echo(
        f"{out}: {document['training']} training and {document['validation']} validation images, "
        f"{len(document['undecodable'])} undecodable, {document['bytes_per_image']} bytes an image"
    )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="paper, source145, caltech101, or a TOML file")],
    data: Annotated[Path, typer.Option(help="a prepared data set")],
    out: Annotated[Path, typer.Option(help="the run folder")],
    resume: Annotated[bool, typer.Option(help="go on after the run's last checkpoint")] = False,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="change a field of the recipe")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that decode")] = 1,
) -> None:
    """Train by the paper's regimen."""
    from dataset.prepared import Prepared
    from training.loop import train as run
    from training.recipe import load

    plan = load(recipe, set or ())
    prepared = Prepared.open(data)
    with _bar("training", plan.epochs) as bar:

        def progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
            bar(epoch - 1 + share, f"loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s")

            if share == 1:
                typer.echo(f"epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s", err=True)

        history = run(plan, prepared, out, resume, workers, progress)
    last = history[-1]
    typer.echo(f"{out}: {len(history)} epochs, center top-1 error {last['center_top1_error']:.2%}, top-5 {last['center_top5_error']:.2%}")


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr; the function it gives hears how many are done, and a note to show."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(doing, total=total, note="")
        yield lambda done, note="": progress.update(task, completed=done, note=note)


def main() -> None:
    """Run a command; bad input and failed work are one line on stderr and an exit code."""
    try:
        app()
    except BadInput as error:
        sys.exit(_fail(error, 2))
    except WorkFailed as error:
        sys.exit(_fail(error, 1))


def _fail(error: Exception, code: int) -> int:
    print(f"tencrop: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
