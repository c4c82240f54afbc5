"""The progress bar of a command, on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class UpdateBar(Protocol):
    """Sets how much is done, and a note beside the bar."""

    def __call__(self, done: float, note: str = "") -> None: ...


@contextmanager
def progress_bar(title: str, total: int | None, enabled: bool = True) -> Iterator[UpdateBar]:
    """Show a bar while the block runs. Without a total the bar disappears at the end, and shows only on a terminal.

    It also disappears where the block fails before anything is done, so that the error stands alone.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    console = Console(stderr=True)
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    transient = total is None
    enabled = enabled and (console.is_terminal or not transient)
    with Progress(*columns, *times, console=console, transient=transient, disable=not enabled) as progress:
        task = progress.add_task(title, total=total, note="")

        def update(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        try:
            yield update
        except BaseException:
            if not progress.tasks[task].completed:
                progress.live.transient = progress.disable = True
            raise
