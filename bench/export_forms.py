"""Forms of an export that bench/export_comparison.py compares, and the functions that write them."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.dataset.source import Source
from tencrop.export.run import INT8_IMAGES, export
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net import AlexNet

BASELINE = "seeded, plain"  # the form with which speeds are compared


@dataclass(frozen=True)
class Form:
    """The options of one export."""

    about: str
    weights: str = "fp32"
    plain: bool = False
    rank: int = 0
    seeded: bool = False


FORMS = {
    BASELINE: Form("full rank, random weights, each view computed separately", plain=True, seeded=True),
    "seeded": Form("full rank, random weights, the views share their first layers", seeded=True),
    "plain": Form("the checkpoint, each view computed separately", plain=True),
    "shared": Form("the checkpoint, the views share their first layers: `tencrop export`"),
    "fp16": Form("`--weights fp16`", weights="fp16"),
    "int8, plain": Form("`--weights int8 --plain`", weights="int8", plain=True),
    "int8": Form("`--weights int8`", weights="int8"),
    **{
        f"rank {rank}": Form(f"`--fc-rank {rank} --weights fp16`, not fine-tuned", weights="fp16", rank=rank)
        for rank in (256, 128, 64)
    },
    "int8, rank 256": Form("`--fc-rank 256 --weights int8`, not fine-tuned", weights="int8", rank=256),
}


def draw_weights(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint's net at full rank, with the random weights from which its recipe starts."""
    thick = {layer: replace(getattr(checkpoint.net, layer), rank=0) for layer in ("fc6", "fc7", "fc8")}
    alexnet = AlexNet(replace(checkpoint.net, **thick))
    alexnet.init(0)
    return replace(checkpoint, recipe={**checkpoint.recipe, "net": dump(alexnet.config)}, weights=alexnet.weights())


def export_forms(checkpoint: Checkpoint, photos: Path, out: Path) -> dict[str, Path]:
    """Export every form that this checkpoint allows, through the parity gate."""
    sources = {True: draw_weights(checkpoint), False: checkpoint}
    for is_seeded, source in sources.items():
        source.save(out / f"checkpoint{is_seeded}")
    forms = {name: form for name, form in FORMS.items() if not (form.rank and checkpoint.net.fc6.rank)}
    for name, form in forms.items():
        export(out / f"checkpoint{form.seeded}", out / name, form.weights, form.rank, photos, form.plain)
        print(f"exported {name}", file=sys.stderr)
    return {name: out / name for name in forms}


def write_calibration_images(data: Source, mask: np.ndarray, folder: Path) -> Path:
    """Write an even selection of the images that are not held out. Raises BadInput if all images are held out."""
    if mask.all():
        raise BadInput(
            f"{data.root}: every image is a validation image, so none is left to calibrate int8", "use --holdout 0.15"
        )
    free = data.entries.select(~mask)
    count = min(INT8_IMAGES, len(free))
    folder.mkdir()
    for number in range(count):
        entry = free[number * len(free) // count]
        (folder / f"{number:03}.jpg").write_bytes(data.read(entry))
    return folder
