"""Prints what commands say: results on stdout, closing words on stderr."""

import csv
import io
import logging
import shlex
import sys
from pathlib import Path

import typer

from tencrop.common.terminal_text import dump_json, escape_text

log = logging.getLogger(__name__)


def echo(*lines: str) -> None:
    """Print lines that may hold names of files and labels, which others chose."""
    typer.echo("\n".join(map(escape_text, lines)))


def echo_json(value: object, indent: int | None = None) -> None:
    """Print JSON in UTF-8, whatever the locale's encoding is."""
    typer.echo(dump_json(value, indent).encode())


def echo_csv(*cells: object) -> None:
    """Print a row of CSV in UTF-8."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(map(escape_text, cells))
    typer.echo(row.getvalue().encode())


def print_error(error: object) -> None:
    """Print an error as one line on stderr. A progress bar there moves below it."""
    print(f"tencrop: {escape_text(' '.join(str(error).split()))}", file=sys.stderr)


def echo_sizes(out: Path) -> None:
    """Print the sizes of the two ONNX files of a folder, in MB."""
    echo(*(f"{out / name}: {(out / name).stat().st_size / 1e6:.1f} MB" for name in ("net.onnx", "tencrop.onnx")))


def say_next(*words: object) -> None:
    """Say which command comes next; --quiet leaves it out. Capitals stand for what the user fills in."""
    log.info("next: tencrop %s", shlex.join(map(str, words)))
