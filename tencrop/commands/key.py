"""`tencrop key`: an API key and its line."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.common.errors import BadInput
from tencrop.common.terminal_text import escape_text


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="owner of the key, as the log names it")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="append the line to this file, made readable to you alone")
    ] = None,
) -> None:
    """Make an API key for the server.

    Prints the key on stderr, once, and its line for `serve --api-key-file` on stdout.
    """
    from tencrop.server.keys import add_key, generate_key, hash_key

    if name.split() != [name] or "#" in name or escape_text(name) != name:
        raise BadInput(f"{name!r}: a key's name is one word")
    secret = generate_key()
    if to:
        add_key(to, name, secret)
    else:
        typer.echo(f"{name} {hash_key(secret)}")
    typer.echo(secret, err=True)
