"""Importing the server changes nothing global: warnings, other libraries' classes, logging, signals, environment."""

import json
import subprocess
import sys

import pytest

# Imports the libraries, then every module of the server; prints what the second step changed.
SCRIPT = """
import importlib, json, logging, os, pkgutil, signal, sys, threading, warnings

import PIL.Image, fastapi, fastapi_swagger, grpc.aio, numpy, onnx, prometheus_client, pyarrow.parquet, pydantic_settings
import scipy.io, starlette.formparsers, uvicorn, uvicorn.protocols.http.httptools_impl

PARSER = starlette.formparsers.MultiPartParser

def state():
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items()}
    return {
        "filters": [str(each) for each in warnings.filters],
        "parser": {name: repr(value) for name, value in vars(PARSER).items()},
        "handlers": sorted(
            f"{name} {handler}" for name, logger in [("root", logging.root), *loggers.items()]
            for handler in getattr(logger, "handlers", ())
        ),
        "levels": {name: logger.level for name, logger in loggers.items() if getattr(logger, "level", 0)},
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "environment": dict(os.environ),
        "threads": threading.active_count(),
        "pixels": PIL.Image.MAX_IMAGE_PIXELS,
    }

before = state()
server = importlib.import_module("tencrop.server")
names = [module.name for module in pkgutil.walk_packages(server.__path__, "tencrop.server.")]
for name in names:
    importlib.import_module(name)
after = state()
changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
print(json.dumps({"names": names, "changed": changed}))
"""


@pytest.mark.slow
def test_importing_every_module_changes_nothing_global() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(result.stdout)
    assert {"tencrop.server.app", "tencrop.server.run", "tencrop.server.jobs", "tencrop.server.oip.routes"} <= set(
        found["names"]
    )
    assert found["changed"] == {}
    assert result.stderr == ""
