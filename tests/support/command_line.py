"""Runs `tencrop ARGUMENTS` in the process of a test."""

import logging

import pytest

from tencrop import cli


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `tencrop ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["tencrop", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def log_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take pytest's handlers from the log, so that it reaches stderr as in a process of its own."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
