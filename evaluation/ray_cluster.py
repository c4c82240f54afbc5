"""The Ray cluster that runs the chunks. Ray prints nothing; its messages are in its logs."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import ray
import ray.data

from tencrop.common.errors import WorkFailed, one_line

OBJECT_STORE = 200_000_000  # bytes, where Ray is started here; it holds the plan, 70 bytes per image
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage reports
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the command itself reports an error that ends the run
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's next default; Ray warns until it is set
}


@contextmanager
def connect_ray() -> Iterator[None]:
    """Connect to Ray for a block, unless this process is connected already.

    RAY_ADDRESS names the cluster; without it Ray is started on this machine and ends with the block.
    """
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    options = {} if os.environ.get("RAY_ADDRESS") else own
    with _silence_ray():
        try:
            with _close_stderr():
                ray.init(log_to_driver=False, **cast(Any, options))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkFailed(f"Ray does not start ({one_line(error)})", "RAY_ADDRESS names a cluster") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _silence_ray() -> Iterator[None]:
    """Keep Ray's messages off stdout and stderr, where the command writes its result and its progress."""
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
def _close_stderr() -> Iterator[None]:
    """Discard what is written to file descriptor 2, also by C++ code, which logs that its logging is switched off."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
