"""Harness: runs MLPerf's LoadGen on workers, and reads the logs that it writes."""

import importlib
import json
import sys
import threading
from array import array
from collections.abc import Mapping
from pathlib import Path
from site import getsitepackages
from typing import Any

import numpy as np

from bench.loadgen.workers import Workers
from bench.serving.client import P99_ANSWERS
from bench.serving.environment import make_environment

LOADGEN = "mlcommons-loadgen==6.0.17"  # one compiled module without dependencies
LOG = ":::MLLOG "  # begins a line of the detail log; JSON follows
PERFORMANCE, ACCURACY = "PerformanceOnly", "AccuracyOnly"  # LoadGen's modes
SINGLE_STREAM, SERVER, OFFLINE = "SingleStream", "Server", "Offline"  # its scenarios


class Harness:
    """LoadGen, out of an environment of its own, for tests of so many images whose logs go to the folder `out`.

    A test of speed lasts at least `seconds`. Raises WorkFailed where LoadGen cannot be installed.
    """

    def __init__(self, envs: Path, out: Path, images: int, seconds: float) -> None:
        python = make_environment(envs / "loadgen", (LOADGEN,))
        sys.path.extend(getsitepackages([str(python.parents[1])]))
        self._loadgen: Any = importlib.import_module("mlperf_loadgen")
        self.out, self.images, self.seconds = out, images, seconds

    def run(
        self,
        workers: Workers,
        name: str,
        scenario: str,
        mode: str = PERFORMANCE,
        settings: Mapping[str, float] | None = None,
    ) -> Path:
        """Run one test and return its folder. `settings` are fields of LoadGen's TestSettings.

        Raises WorkFailed where an answer failed.
        """
        folder = self.out / name / f"{scenario}-{mode}"
        folder.mkdir(parents=True, exist_ok=True)
        loadgen, asked = self._loadgen, self._loadgen.TestSettings()
        asked.scenario, asked.mode = getattr(loadgen.TestScenario, scenario), getattr(loadgen.TestMode, mode)
        asked.min_duration_ms = round(1000 * self.seconds)
        asked.min_query_count = 1 if scenario == OFFLINE else P99_ANSWERS
        for field, value in (settings or {}).items():
            setattr(asked, field, value)
        logs = loadgen.LogSettings()
        logs.log_output.outdir, logs.enable_trace = str(folder), False
        system = loadgen.ConstructSUT(lambda samples: workers.issue(samples, self._complete), lambda: None)
        library = loadgen.ConstructQSL(self.images, self.images, lambda _: None, lambda _: None)
        start = loadgen.StartTestWithLogSettings
        test = threading.Thread(target=start, args=(system, library, asked, logs), daemon=True)
        test.start()
        test.join()  # this thread stays free for signals
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        workers.check()
        return folder

    def _complete(self, query: int, index: int) -> None:
        data = array("i", [index])
        address, items = data.buffer_info()
        self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(query, address, items * data.itemsize)])


def read_details(folder: Path) -> dict[str, Any]:
    """The values in the detail log of a test, by LoadGen's keys."""
    lines = (folder / "mlperf_log_detail.txt").read_text().splitlines()
    entries = [json.loads(line.removeprefix(LOG)) for line in lines if line.startswith(LOG)]
    return {entry["key"]: entry["value"] for entry in entries}


def read_classes(folder: Path) -> dict[int, int]:
    """The class of each image in the log of a test for accuracy, by the image's number."""
    entries = json.loads((folder / "mlperf_log_accuracy.json").read_text())
    return {entry["qsl_idx"]: int(np.frombuffer(bytes.fromhex(entry["data"]), np.int32)[0]) for entry in entries}
