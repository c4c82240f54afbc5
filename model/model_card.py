"""Model card: a README.md in the form of the Hugging Face hub, of what a tencrop.onnx and its summary.json know."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput
from tencrop.common.terminal_text import escape_text
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.hub_metadata import hub_metadata
from tencrop.model.measured_errors import SUMMARY_FILE, MeasuredErrors, read_measured_errors, read_model_and_errors
from tencrop.model.metrics import wilson_interval
from tencrop.model.origin import Origin, find_origin
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.model.run_progress import RunProgress
from tencrop.model.tencropfile import INPUT, OUTPUTS, TenCropFile
from tencrop.model.yaml_text import yaml_lines

MARKS = re.compile(r"[\\`*_{}\[\]<>#|~$&!]")  # characters that Markdown may read as more than themselves
NO_LICENSE = "# license: apache-2.0   <- the owner of the weights chooses one"
RECIPE = {  # what a row of the training's table says -> where the recipe holds it
    "recipe": ("name",),
    "epochs in the recipe": ("epochs",),
    "images in a step": ("optim", "batch"),
    "learning rate": ("optim", "lr"),
    "seed": ("seed",),
    "sha256 of the weights that it started from": ("start",),
}
SESSION = ("tencrop", "commit", "torch", "device", "precision")  # keys of a session record that the card shows
CARD, SAFETENSORS = "README.md", "model.safetensors"
FILES = {  # what may lie beside the card
    "tencrop.onnx": "the whole prediction",
    "net.onnx": "the net alone: from a crop whose mean is subtracted to logits",
    "model.onnx": "the center view alone: from its pixels (0 to 255, RGB) to logits; the mean is inside",
    "config.json": "the classes, for model.onnx",
    "preprocessor_config.json": "the preprocessing for model.onnx. Its form knows no ten views, "
    "and a program that reads it may cut the crop one pixel beside",
    SAFETENSORS: "the weights, behind `net.`, and the statistics of the images that the net was trained on",
}
LIMITS = (
    "## Limits",
    "",
    "- It names one of its classes for every image, even where the image shows none of them.",
    "- On photographs of another kind than those that it was trained on, it is wrong more often.",
)


def render_card(file: TenCropFile, errors: MeasuredErrors | None, progress: RunProgress) -> str:
    """Make the card. `errors` are None where none are known, and `progress` is empty where the training is not."""
    origin, recipe = find_origin(file.metadata.checkpoint_sha256), file.metadata.recipe
    is_import = "net" not in recipe or "source" in recipe
    parts = (
        ["---", *([] if origin else [NO_LICENSE]), *yaml_lines(hub_metadata(file, errors, origin)), "---"],
        _introduce(file),
        _describe_contract(file),
        _describe_errors(errors),
        _describe_import(recipe) if is_import else _describe_training(recipe, origin, progress),
        LIMITS,
        _list_files(file),
        _state_license(origin),
        _list_classes(file),
    )
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def make_card(file: TenCropFile, summary: Path | None = None, checkpoint: Path | None = None) -> str:
    """Make the card with what lies beside the file, or with another summary.json and the checkpoint of the file.

    Raises BadInput where either is damaged, or of another model.
    """
    errors = read_measured_errors(file.folder, file.sha256)
    if summary:
        summary = summary / SUMMARY_FILE if summary.is_dir() else summary
        measured, errors = read_model_and_errors(summary)
        if measured != file.sha256:
            raise BadInput(f"{summary}: of another model than {file.name}", "evaluate this one with --out")
    if checkpoint is None:
        return render_card(file, errors, RunProgress())
    checkpoint = find_checkpoint(checkpoint)
    progress = Checkpoint.load(checkpoint).run_progress
    if hash_weights(checkpoint) != file.metadata.checkpoint_sha256:
        raise BadInput(f"{checkpoint}: {file.name} was made of another checkpoint", "name that one")
    return render_card(file, errors, progress)


def _introduce(file: TenCropFile) -> Iterator[str]:
    about, classes = file.metadata.recipe.get("about"), len(file.metadata.contract.labels)
    yield from (f"# {markdown(file.name)}", "")
    yield f"An image classifier of {classes:,} classes{f' ({markdown(about)})' if about else ''}."
    yield "tencrop.onnx holds its whole prediction, from the pixels to the mean over ten views of the image."


def _describe_contract(file: TenCropFile) -> Iterator[str]:
    contract, classes = file.metadata.contract, len(file.metadata.contract.labels)
    side = contract.resize
    yield from ("## Use", "", "```python", "import tencrop", "")
    yield from ('print(tencrop.load("tencrop.onnx").predict("photo.jpg").label)', "```", "")
    yield f"- The shorter side of an image is resized to {side} pixels ({contract.filter}, antialiased), and the"
    yield f"  central square is `{INPUT}`: uint8 [N, {side}, {side}, 3], {contract.channels.upper()}."
    yield f"- The graph cuts ten views of {contract.crop} pixels: four corners, the center, and their mirror images."
    yield f"- `{OUTPUTS[0]}` are the mean over the views, float32 [N, {classes}]; `{OUTPUTS[1]}` are those of each"
    yield f"  view, [N, {len(contract.views)}, {classes}]."
    yield f"- sha256 of tencrop.onnx: `{file.sha256}`"
    yield f"- sha256 of the contract (preprocessing and labels): `{contract.sha256}`"


def _describe_errors(errors: MeasuredErrors | None) -> Iterator[str]:
    yield from ("## Errors", "")
    if errors is None:
        yield "No validation of this file is known."
        return
    images = f"{markdown(errors.dataset)} ({errors.describe_images()})"
    yield f"Measured by `tencrop evaluate` on {images}, in {markdown(errors.precision)}."
    yield from ("", "| | top-1 error | top-5 error |", "|---|---|---|")
    for row in errors.rows():
        cells = [f"{error:.2%}{_interval(error, row.images)}" for error in row.rates.by_top().values()]
        yield f"| {row.words} | {' | '.join(cells)} |"
    yield from ("", "In brackets: 95 % intervals (Wilson). In a mean over classes every class counts alike.")


def _interval(error: float, images: int | None) -> str:
    return " ({:.2%} to {:.2%})".format(*wilson_interval(error, images)) if images else ""


def _describe_training(recipe: Mapping[str, Any], origin: Origin | None, progress: RunProgress) -> Iterator[str]:
    yield from ("## Training", "")
    if origin:
        yield from (f"It was trained on {origin.trained_on}.", "")
    yield from ("| | |", "|---|---|")
    for words, keys in RECIPE.items():
        value: Any = recipe
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            yield f"| {words} | {markdown(value)} |"
    if progress.history:
        yield f"| epochs so far | {len(progress.history)} |"
    for session in progress.sessions:
        known = [f"{key} {session[key]}" for key in SESSION if session.get(key)]
        yield f"| trained after epoch {markdown(session.get('after_epoch', 0))} by | {markdown(', '.join(known))} |"


def _describe_import(recipe: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Origin", "")
    yield f"`tencrop import` made it of {markdown(recipe.get('source', 'a file without a name'))}."
    yield "How the net was trained is not known here."
    for key, words in (("notes", ""), ("assumed", "assumed: ")):
        lines = recipe.get(key)  # of a file that anyone may have written
        yield from (f"- {words}{markdown(line)}" for line in (lines if isinstance(lines, list) else ()))


def _list_files(file: TenCropFile) -> list[str]:
    lines = [f"- `{name}`: {words}" for name, words in FILES.items() if (file.folder / name).is_file()]
    return ["## Files", "", *lines] if lines else []


def _state_license(origin: Origin | None) -> Iterator[str]:
    yield from ("## License", "")
    yield f"The weights are under {origin.license}." if origin else "The owner of the weights has not named one here."


def _list_classes(file: TenCropFile) -> Iterator[str]:
    labels = file.metadata.contract.labels
    yield from ("## Classes", "", "In the order of the outputs:", "")
    yield ", ".join(markdown(label.name) for label in labels) + "."


def markdown(text: object) -> str:
    """A text that others chose, as Markdown that shows it as it is on one line."""
    return MARKS.sub(lambda mark: f"\\{mark[0]}", escape_text(text))
