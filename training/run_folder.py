"""The run folder: recipe.toml as resolved, metrics.csv, TensorBoard events, curves.png, conv1.png and the checkpoints."""

import csv
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from tencrop.common.atomic import atomic_path, write_atomic
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.lock import lock_folder
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.filter_picture import draw_filters
from tencrop.training.recipe import Recipe, to_plain

KEEP = 2  # checkpoints; the newest and the one before it
NAME = re.compile(r"checkpoint-\d{4,}(\+\d{6,})?")
CURVES = {
    "train_error": "training",
    "center_top1_error": "validation, center crop",
    "center_top5_error": "validation, top-5",
}


class RunFolder:
    """One run folder, opened for writing by one process at a time. Raises BadInput where another is at it or it cannot be used."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self._held = lock_folder(out)
        write_atomic(out / "recipe.toml", tomli_w.dumps(to_plain(recipe)))
        self.out = out
        self.events = SummaryWriter(str(out))

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()
        self._held.close()

    @classmethod
    def find_resumable(cls, out: Path, resume: bool) -> list[Path]:
        """The checkpoints that are there to go on from. Raises BadInput where there are some and `resume` was not asked for."""
        found = cls.checkpoints(out)
        if found and not resume:
            raise BadInput(f"{out}: holds a run already; add --resume to go on with it, or choose another folder")
        return found

    @staticmethod
    def checkpoints(out: Path) -> list[Path]:
        """Complete checkpoints of a run folder, oldest first; a copy of one under another name is none of them."""
        return sorted(path for path in out.glob("checkpoint-*") if NAME.fullmatch(path.name))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint (in the middle of an epoch: checkpoint-EPOCHS+BATCHES), then what is drawn from the history.

        Raises WorkFailed where it cannot be written.
        """
        history: Sequence[Mapping[str, Any]] = checkpoint.progress["history"]
        part = checkpoint.progress.get("part")
        name = f"checkpoint-{len(history):04d}" + (f"+{part['steps']:06d}" if part else "")
        try:
            checkpoint.save(self.out / name)
        except OSError as error:  # a full disk
            raise WorkFailed(
                f"{self.out / name}: {error.strerror}; the checkpoint before it is whole: make room and go on with --resume"
            ) from None
        for old in self.checkpoints(self.out)[:-KEEP]:
            shutil.rmtree(old)
        if not part:
            self._epoch(history, checkpoint)

    def _epoch(self, history: Sequence[Mapping[str, Any]], checkpoint: Checkpoint) -> None:
        epoch = len(history)
        with atomic_path(self.out / "metrics.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fieldnames=list(history[-1]), lineterminator="\n")
            table.writeheader()
            table.writerows(history)
        for key, value in history[-1].items():
            self.events.add_scalar(key, value, epoch)
        self.events.flush()
        write_atomic(self.out / "conv1.png", draw_filters(checkpoint.weights["conv1.weight"]))
        self._curves(history)

    def _curves(self, history: Sequence[Mapping[str, Any]]) -> None:
        figure = Figure(figsize=(7, 4), dpi=120)
        axes = figure.subplots()
        epochs = [row["epoch"] for row in history]
        for key, name in CURVES.items():
            axes.plot(epochs, [100 * row[key] for row in history], label=name)
        axes.set(xlabel="epoch", ylabel="error, %", ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_path(self.out / "curves.png") as partial:
            figure.savefig(partial, format="png")
