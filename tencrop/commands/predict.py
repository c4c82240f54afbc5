"""`tencrop predict`: the labels of images."""

import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tencrop.commands.image_arguments import STDIN, list_images, open_image
from tencrop.commands.options import Deterministic, Device, EngineChoice, Model, PrecisionChoice, engine_options
from tencrop.commands.output import echo, echo_csv, echo_json, print_error
from tencrop.commands.progress import show_progress
from tencrop.common.errors import BadInput
from tencrop.images.heif_open import decode_in_one_thread
from tencrop.images.pillow_warnings import silence_libtiff

if TYPE_CHECKING:
    from tencrop.runtime.prediction import Guess, Prediction

SET_COLUMNS = ("confidence", "in_set")  # of --csv with --coverage

log = logging.getLogger(__name__)


def predict(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="files, folders with all below them, patterns as '*.jpg', - for stdin"),
    ],
    model: Model = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="number of labels")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per image")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="print a table: image,rank,id,label,probability,agreement")
    ] = False,
    coverage: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="add the set that holds the right label so often, of a calibrated model"),
    ] = None,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
    deterministic: Deterministic = False,
) -> None:
    """Name what images show.

    An image that cannot be read is an error in its place on stderr. The others go on, and the exit code is 1.
    """
    from tencrop.model.embedded import EMBEDDED
    from tencrop.runtime.classifier import open_classifier

    if as_json and as_csv:
        raise BadInput("--json and --csv: give one of them")
    show = next(form for form, wanted in ((_show_json, as_json), (_show_csv, as_csv), (_show_text, True)) if wanted)
    silence_libtiff()
    decode_in_one_thread()
    paths = [path for argument in images for path in list_images(argument)]
    if len(paths) > len(images):
        log.info("%d images", len(paths))
    failed = 0
    with open_classifier(
        model or EMBEDDED, engine_options(device, engine, precision, deterministic=deterministic)
    ) as classifier:
        answers = classifier.predict_each((open_image(path, sys.stdin.buffer) for path in paths), top, coverage)
        if as_csv:
            more = () if coverage is None else SET_COLUMNS
            echo_csv("image", "rank", "id", "label", "probability", "agreement", *more)
        with show_progress("predicting", len(paths), enabled=not sys.stdout.isatty()) as progress:
            for done, (path, found) in enumerate(zip(paths, answers, strict=True), 1):
                if isinstance(found, BadInput):
                    print_error(f"{path}: {found}" if path == STDIN else found)
                    failed += 1
                else:
                    show(path, found)
                progress(done)
    if failed:
        raise typer.Exit(1)


def _show_text(path: str, found: "Prediction") -> None:
    guesses = (f"  {guess.probability:6.1%}  {guess.label}" for guess in found.top)
    echo(path, *guesses, f"  agreement of the views: {found.agreement} of 10")
    if found.set is not None:
        echo(f"  set: {', '.join(guess.label for guess in found.set)}")


def _show_json(path: str, found: "Prediction") -> None:
    line = {"image": path, "top": [*map(_describe, found.top)], "agreement": found.agreement}
    echo_json(line if found.set is None else {**line, "set": [*map(_describe, found.set)]})


def _describe(guess: "Guess") -> dict[str, object]:
    line = {"id": guess.id, "label": guess.label, "probability": guess.probability}
    return line if guess.confidence is None else {**line, "confidence": guess.confidence}


def _show_csv(path: str, found: "Prediction") -> None:
    """Print a row for each label of the answer, and of its set where that is longer."""
    guesses = max(found.top, found.set or [], key=len)
    for rank, guess in enumerate(guesses, 1):
        of_set = () if found.set is None else (guess.confidence, rank <= len(found.set))
        echo_csv(path, rank, guess.id, guess.label, guess.probability, found.agreement, *of_set)
