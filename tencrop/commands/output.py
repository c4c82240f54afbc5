"""What commands print on stdout."""

from pathlib import Path

import typer

from tencrop.common.terminal_text import dump_json, escape_text


def echo(*lines: str) -> None:
    """Print lines that may hold names of files and labels, which others chose."""
    typer.echo("\n".join(map(escape_text, lines)))


def echo_json(value: object, indent: int | None = None) -> None:
    """Print JSON in UTF-8, whatever the locale's encoding is."""
    typer.echo(dump_json(value, indent).encode())


def echo_sizes(out: Path) -> None:
    """Print the sizes of the two ONNX files of a folder, in MB."""
    echo(*(f"{out / name}: {(out / name).stat().st_size / 1e6:.1f} MB" for name in ("net.onnx", "tencrop.onnx")))
