"""--quiet and --verbose: how much a command says on stderr beside its results and errors.

Rooms say it by logging below `tencrop`: progress and closing words are INFO, details are DEBUG. --quiet leaves
warnings. The server logs below `uvicorn`, as its library does; its access log is a result.
"""

import inspect
import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from tencrop.common.errors import BadInput

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print results, warnings and errors only")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="print details, times, and a traceback of an error")]

log = logging.getLogger("tencrop")


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Add --quiet and --verbose to a command."""

    @wraps(command)
    def run(*, quiet: bool, verbose: bool, **options: Any) -> None:
        started = time.perf_counter()
        set_verbosity(quiet, verbose)
        command(**options)
        log.debug("%.1f s", time.perf_counter() - started)

    given = inspect.signature(command)
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]
    run.__signature__ = given.replace(parameters=[*given.parameters.values(), *own])  # type: ignore[attr-defined]
    run.__annotations__ = command.__annotations__ | {parameter.name: parameter.annotation for parameter in own}
    return run


def set_verbosity(quiet: bool = False, verbose: bool = False) -> None:
    """Set what is logged on stderr. Raises BadInput for both at once."""
    if quiet and verbose:
        raise BadInput("--quiet and --verbose: give one of them")
    level = {(True, False): logging.WARNING, (False, True): logging.DEBUG}.get((quiet, verbose), logging.INFO)
    log.setLevel(level)
    logging.getLogger("uvicorn").setLevel(max(level, logging.INFO))  # the server's; its details are uvicorn's own
    if logging.lastResort:  # writes what no other handler takes
        logging.lastResort.setLevel(level)
