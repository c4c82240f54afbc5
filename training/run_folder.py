"""RunFolder: a run's resolved recipe.toml, metrics.csv, TensorBoard events, curves.png, conv1.png, checkpoints."""

import csv
import itertools
import logging
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
from tencrop.model.checkpoint import Checkpoint, DamagedCheckpoint
from tencrop.model.filter_picture import draw_filters
from tencrop.model.run_checkpoints import list_checkpoints, name_checkpoint, position
from tencrop.model.run_progress import EpochRecord
from tencrop.training.recipe import Recipe, to_plain

KEEP = 2  # checkpoints: the newest, and the one before as a reserve
CURVES = {
    "train_error": "training",
    "center_top1_error": "validation, center crop",
    "center_top5_error": "validation, top-5",
}

log = logging.getLogger(__name__)


class RunFolder:
    """A run folder that this process holds open for writing.

    `epoch` is the next one to train: TensorBoard hides what the folder has of it and of later ones. Raises BadInput
    where another process holds the folder, or where it cannot be used.
    """

    def __init__(self, out: Path, recipe: Recipe, epoch: int = 1) -> None:
        self._lock = lock_folder(out)
        write_atomic(out / "recipe.toml", tomli_w.dumps(to_plain(recipe)))
        self.out = out
        self.events = SummaryWriter(str(out), purge_step=epoch)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()
        self._lock.close()

    @classmethod
    def find_resumable(cls, out: Path, resume: bool, resume_from: Path | None = None) -> list[Path]:
        """List the checkpoints up to the one to resume from: the newest one, or `resume_from`.

        Raises BadInput where there are some and neither is asked for, and where `resume_from` is none of them.
        """
        found = list_checkpoints(out)
        if resume_from:
            places = [path.resolve() for path in found]
            if resume_from.resolve() not in places:
                names = ", ".join(path.name for path in found) or "none"
                raise BadInput(f"--resume-from {resume_from}: not among the checkpoints of {out} ({names})")
            return found[: places.index(resume_from.resolve()) + 1]
        if found and not resume:
            raise BadInput(f"{out}: holds a run already", "add --resume to continue it, or choose another folder")
        return found

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """Read a checkpoint of a run. Raises DamagedCheckpoint, also where its progress is not that of its name."""
        saved = Checkpoint.load(path)
        if (name := name_checkpoint(saved.run_progress)) != path.name:
            raise DamagedCheckpoint(f"{path}: damaged checkpoint: its progress is that of {name}")
        return saved

    def set_aside_after(self, checkpoint: Path) -> None:
        """Rename the newer checkpoints, whose places the run takes from here on. A warning names each."""
        for path in list_checkpoints(self.out):
            if position(path) > position(checkpoint):
                names = (f"{path.name}.aside{number}" for number in itertools.count(1))
                aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
                path.rename(aside)
                log.warning("--resume-from: %s is now %s", path, aside.name)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and after a whole epoch also the metrics and pictures of the history.

        Raises WorkFailed where it cannot be written.
        """
        progress, name = checkpoint.run_progress, name_checkpoint(checkpoint.run_progress)
        try:
            checkpoint.save(self.out / name)
        except OSError as error:  # a full disk
            raise WorkFailed(
                f"{self.out / name}: {error.strerror}",
                "the checkpoint before it is whole: make room and continue with --resume",
            ) from None
        for old in list_checkpoints(self.out)[:-KEEP]:
            shutil.rmtree(old)
        if not progress.part.steps:
            self._write_metrics(progress.history)
            self._draw_curves(progress.history)
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
