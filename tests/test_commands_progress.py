"""Progress: a bar on a terminal, elsewhere a line every 30 s with the speed and the time left."""

import io
import logging
from collections.abc import Callable

import pytest
from support.command_line import log_to_stderr

from tencrop.commands.progress import ProgressLines, show_progress
from tencrop.commands.verbosity import set_verbosity


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Make progress and return the lines. Each step is (seconds later, done[, note])."""
    set_verbosity()

    def run(total: int | None, *steps: tuple[float, float] | tuple[float, float, str]) -> list[str]:
        update = ProgressLines("evaluating", total, "images", clock)
        for seconds, *shown in steps:
            clock.now += seconds
            update(*shown)
        return caplog.messages

    return run


def test_a_line_every_30_seconds_has_speed_and_time_left(lines: Callable[..., list[str]]) -> None:
    steps = [(10.0, 100.0 * step) for step in range(1, 9)]  # 10 images a second from the first update on
    assert lines(50_000, *steps) == [
        "evaluating: 300 of 50000 images, 10 images/s, 1:22:50 left",
        "evaluating: 600 of 50000 images, 10 images/s, 1:22:20 left",
    ]


def test_images_that_an_earlier_run_did_do_not_count_as_speed(lines: Callable[..., list[str]]) -> None:
    assert lines(1000, (1, 500), (29, 558)) == ["evaluating: 558 of 1000 images, 2 images/s, 0:03:41 left"]


def test_a_first_line_after_one_update_has_no_speed(lines: Callable[..., list[str]]) -> None:
    assert lines(1000, (45, 64)) == ["evaluating: 64 of 1000 images"]


def test_without_a_total_nothing_is_left(lines: Callable[..., list[str]]) -> None:
    assert lines(None, (10, 10_000), (20, 30_000)) == ["evaluating: 30000 images, 1000 images/s"]


def test_a_note_stands_in_the_place_of_the_speed(lines: Callable[..., list[str]]) -> None:
    steps = (10, 0.5, "loss 2.320"), (20, 1.5, "loss 2.310")  # one and a half are not two
    assert lines(90, *steps) == ["evaluating: 1 of 90 images, loss 2.310, 0:29:30 left"]


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(monkeypatch)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    for quiet in (True, False):
        set_verbosity(quiet=quiet)
        with show_progress("preparing", 2) as update:
            update(2)
        assert bool(terminal.getvalue()) is not quiet


def test_on_a_terminal_a_line_of_the_log_leaves_no_second_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    log_to_stderr(monkeypatch)
    set_verbosity()
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("training", 2, "epochs") as update:
        update(1, "loss 2.0")
        logging.getLogger("tencrop.training").info("epoch 1 of 2")
        update(2, "loss 1.0")
    screen = terminal.getvalue()
    before = screen[: screen.index("epoch 1 of 2")]
    assert before.endswith("\x1b[2K")  # the bar was cleared before the line was written
    assert screen.count("2/2") == 1


def test_a_bar_that_never_moved_disappears(monkeypatch: pytest.MonkeyPatch) -> None:
    set_verbosity()
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("evaluating", 5):
        pass
    after = terminal.getvalue().rpartition("evaluating")[2]
    assert after.endswith("\x1b[2K") and "\x1b[?25h" in after  # the line is cleared and the cursor shown
