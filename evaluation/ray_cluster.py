"""Cluster: the Ray that chunks are done on, quiet: what it has to say is in its logs, what matters is said by the command."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import ray
import ray.data

from tencrop.common.errors import WorkFailed, one_line

OBJECT_STORE = 200_000_000  # bytes, of a Ray that is started here: it holds the plan, 70 bytes an image
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what ends a run is said once, by us
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do anyway, and warns of until it does
}


@contextmanager
def connect_ray() -> Iterator[None]:
    """The Ray that this process is connected to, else RAY_ADDRESS's, else one of our own, which ends with the block."""
    if ray.is_initialized():
        yield
        return
    own = (
        {}
        if os.environ.get("RAY_ADDRESS")
        else {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    )
    with _hushed():
        try:
            with _no_stderr():
                ray.init(log_to_driver=False, **cast(Any, own))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkFailed(f"Ray does not start ({one_line(error)}); RAY_ADDRESS names a cluster") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing of Ray's on stdout or stderr, where the command's own words and progress are."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    before = logging.root.manager.disable
    logging.disable()
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Not even from C++, which has a line to say about being told to say nothing."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
