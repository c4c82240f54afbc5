"""The run folder: recipe.toml as resolved, metrics.csv, TensorBoard events, curves.png, conv1.png and the checkpoints."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import tomli_w
from torch.utils.tensorboard import SummaryWriter

from model.checkpoint import Checkpoint
from model.errors import BadInput
from model.kernels import kernels_png
from training.recipe import Recipe, to_plain

matplotlib.use("Agg")
from matplotlib import pyplot

KEEP = 2  # checkpoints; the newest and the one before it
CURVES = {"train_error": "training", "center_top1_error": "validation, center crop", "center_top5_error": "validation, top-5"}


class Run:
    """One run folder, opened for writing."""

    def __init__(self, out: Path, recipe: Recipe, resume: bool) -> None:
        """Raises BadInput where `out` holds a run and `resume` was not asked for."""
        if self.checkpoints(out) and not resume:
            raise BadInput(f"{out}: holds a run already; add --resume to go on with it, or choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.toml").write_text(tomli_w.dumps(to_plain(recipe)), encoding="utf-8")
        self.out = out
        self.events = SummaryWriter(str(out))

    @staticmethod
    def checkpoints(out: Path) -> list[Path]:
        """Complete checkpoints of a run folder, oldest first."""
        return sorted(path for path in out.glob("checkpoint-*") if path.suffix != ".partial")

    def epoch(self, history: Sequence[Mapping[str, Any]], checkpoint: Checkpoint) -> None:
        """Write what an epoch brought: its checkpoint first, then all that is drawn from the history."""
        epoch = len(history)
        checkpoint.save(self.out / f"checkpoint-{epoch:04d}")
        for old in self.checkpoints(self.out)[:-KEEP]:
            shutil.rmtree(old)
        with (self.out / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fieldnames=list(history[-1]), lineterminator="\n")
            table.writeheader()
            table.writerows(history)
        for key, value in history[-1].items():
            self.events.add_scalar(key, value, epoch)
        self.events.flush()
        (self.out / "conv1.png").write_bytes(kernels_png(checkpoint.weights["conv1.weight"]))
        self._curves(history)

    def _curves(self, history: Sequence[Mapping[str, Any]]) -> None:
        figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
        epochs = [row["epoch"] for row in history]
        for key, name in CURVES.items():
            axes.plot(epochs, [100 * row[key] for row in history], label=name)
        axes.set(xlabel="epoch", ylabel="error, %", ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(self.out / "curves.png")
        pyplot.close(figure)
