"""The progress of a command on stderr: a bar on a terminal, elsewhere a line every 30 s; nothing with --quiet."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 30  # seconds

log = logging.getLogger(__name__)


class UpdateProgress(Protocol):
    """Sets how much is done, and a note that stands in the place of the speed."""

    def __call__(self, done: float, note: str = "") -> None: ...


@contextmanager
def show_progress(
    title: str, total: int | None, unit: str = "images", enabled: bool = True
) -> Iterator[UpdateProgress]:
    """Show progress while the block runs.

    Without a total the bar disappears at the end. It also disappears where nothing was done, so that an error stands
    alone.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not (enabled and log.isEnabledFor(logging.INFO)):
        yield _show_nothing
    elif console.is_terminal:
        with _show_bar(title, total, console) as update:
            yield update
    else:
        yield ProgressLines(title, total, unit)


class ProgressLines:
    """Logs a line every 30 s: what is done, the speed, and the time left. The first update starts the clock."""

    def __init__(self, title: str, total: int | None, unit: str, clock: Callable[[], float] | None = None) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.clock = clock or time.monotonic
        self.start: tuple[float, float] | None = None  # seconds, and how much was done then
        self.last = self.clock()

    def __call__(self, done: float, note: str = "") -> None:
        now = self.clock()
        if self.start is None:
            self.start = (now, done)
        if now - self.last < LINE_EVERY:
            return
        self.last = now
        started, before = self.start
        speed = (done - before) / (now - started) if now > started else 0.0
        parts = [f"{int(done)}" + (f" of {self.total}" if self.total else "") + f" {self.unit}"]
        if note or speed:
            parts.append(note or f"{speed:.0f} {self.unit}/s")
        if speed and self.total:
            parts.append(f"{timedelta(seconds=round((self.total - done) / speed))} left")
        log.info("%s: %s", self.title, ", ".join(parts))


def _show_nothing(done: float, note: str = "") -> None:
    pass


@contextmanager
def _show_bar(title: str, total: int | None, console: "Console") -> Iterator[UpdateProgress]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=total is None) as progress:
        task = progress.add_task(title, total=total, note="")

        def update(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        try:
            yield update
        finally:
            if not progress.tasks[task].completed:
                progress.live.transient = True
