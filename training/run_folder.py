"""RunFolder: a run's resolved recipe.toml, metrics.csv, TensorBoard events, curves.png, conv1.png, checkpoints."""

import csv
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import tomli_w
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from tencrop.common.atomic import atomic_path, write_atomic
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.lock import lock_folder
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.filter_picture import draw_filters
from tencrop.training.epoch_record import EpochRecord
from tencrop.training.recipe import Recipe, to_plain

KEEP = 2  # checkpoints: the newest, and the one before as a reserve
CHECKPOINT_NAME = re.compile(r"checkpoint-\d{4,}(\+\d{6,})?")
CURVES = {
    "train_error": "training",
    "center_top1_error": "validation, center crop",
    "center_top5_error": "validation, top-5",
}


class RunFolder:
    """A run folder that this process holds open for writing.

    Raises BadInput where another process holds it, or where the folder cannot be used.
    """

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self._lock = lock_folder(out)
        write_atomic(out / "recipe.toml", tomli_w.dumps(to_plain(recipe)))
        self.out = out
        self.events = SummaryWriter(str(out))

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()
        self._lock.close()

    @classmethod
    def find_resumable(cls, out: Path, resume: bool) -> list[Path]:
        """List the checkpoints to resume from. Raises BadInput where there are some and `resume` is false."""
        found = cls.list_checkpoints(out)
        if found and not resume:
            raise BadInput(f"{out}: holds a run already", "add --resume to continue it, or choose another folder")
        return found

    @staticmethod
    def list_checkpoints(out: Path) -> list[Path]:
        """Complete checkpoints of a run folder, oldest first. A copy under another name is not listed."""
        return sorted(path for path in out.glob("checkpoint-*") if CHECKPOINT_NAME.fullmatch(path.name))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and after a whole epoch also the metrics and pictures of the history.

        A checkpoint within an epoch is named checkpoint-EPOCHS+BATCHES. Raises WorkFailed where it cannot be written.
        """
        history = [EpochRecord(**row) for row in checkpoint.progress["history"]]
        part = checkpoint.progress.get("part")
        name = f"checkpoint-{len(history):04d}" + (f"+{part['steps']:06d}" if part else "")
        try:
            checkpoint.save(self.out / name)
        except OSError as error:  # a full disk
            raise WorkFailed(
                f"{self.out / name}: {error.strerror}",
                "the checkpoint before it is whole: make room and continue with --resume",
            ) from None
        for old in self.list_checkpoints(self.out)[:-KEEP]:
            shutil.rmtree(old)
        if not part:
            self._write_metrics(history)
            self._draw_curves(history)
            write_atomic(self.out / "conv1.png", draw_filters(checkpoint.weights["conv1.weight"]))

    def _write_metrics(self, history: Sequence[EpochRecord]) -> None:
        with atomic_path(self.out / "metrics.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [field.name for field in fields(EpochRecord)], lineterminator="\n")
            table.writeheader()
            table.writerows(asdict(record) for record in history)
        for tag, value in asdict(history[-1]).items():
            self.events.add_scalar(tag, value, len(history))
        self.events.flush()

    def _draw_curves(self, history: Sequence[EpochRecord]) -> None:
        figure = Figure(figsize=(7, 4), dpi=120)
        axes = figure.subplots()
        epochs = [record.epoch for record in history]
        for name, label in CURVES.items():
            axes.plot(epochs, [100 * getattr(record, name) for record in history], label=label)
        axes.set(xlabel="epoch", ylabel="error, %", ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_path(self.out / "curves.png") as partial:
            figure.savefig(partial, format="png")
