"""Measures rows: prepares the photographs and the files that the servers read, and runs a round."""

import math
import sys
from collections.abc import Collection, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

from bench.serving.client import P99_ANSWERS, Load, compile_client, run_load
from bench.serving.models import NULL, NULL_FULL, write_model
from bench.serving.post import Post, find_rgb_jpegs
from bench.serving.process import ProcessTree, find_free_port, send
from bench.serving.rows import CLIENTS, COMPARED, RATES, ROWS, Row, top1_index
from bench.serving.start import start_row, write_rival_files
from bench.validation import limit, measure_decoding, measure_engine
from tencrop.common.errors import WorkFailed, one_line
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions

CHECKED = 8  # photographs on which all rows must agree before any is measured
MARGIN = 1.2  # of the seconds in which the answers for a p99 should arrive; overload makes a server slower
LEAD = 0.1  # least lead of their most probable class; bf16 may move a probability by 0.02

Result = dict[str, Any]  # written as JSON


class WrongAnswer(Exception):
    """A server's answer differs from the model's. Servers with different answers are not compared."""


class Measurement:
    """Everything that the rounds share. Raises BadInput for the folder, WorkFailed if load.c does not compile."""

    def __init__(self, images: Path, envs: Path, scratch: Path, seconds: float, longest: float) -> None:
        self.images = images
        self.photographs, skipped = find_rgb_jpegs(images)
        self.about = f"{len(self.photographs)} RGB JPEGs; {skipped} other images are left out"
        self.envs, self.scratch, self.seconds, self.longest = envs, scratch, seconds, longest
        self.client = compile_client(scratch)
        self.open_classifier = cache(self._open_classifier)
        self.find_sure_photographs = cache(self._find_sure_photographs)
        write_rival_files(scratch)

    def round(self, names: Sequence[str], with_rates: Collection[str]) -> Result:
        """Measure each row once, those of `with_rates` with open loops, and the limit L before each row of ours."""
        rows = {}
        for name in names:
            row = ROWS[name]
            limits = self.measure_limit(self.open_classifier(row.model, row.precision)) if row.precision else {}
            rows[name] = {**limits, **self.measure_row(name, row, name in with_rates)}
        return rows

    def _open_classifier(self, model: str, precision: str) -> Classifier:
        """The classifier of a row's `model`."""
        folder = write_model(model, self.scratch, self.images) if model else EMBEDDED
        return open_classifier(folder, EngineOptions(precision=precision))

    def measure_limit(self, classifier: Classifier) -> dict[str, float]:
        """e: engine alone, images/s; d: core-seconds per decoded image; l: their limit, images/s."""
        d, images = measure_decoding(classifier, self.photographs)
        e = measure_engine(classifier, images)
        report_progress(f"{classifier.engine.precision}: E {e:.1f} images/s, d {1000 * d:.2f} ms")
        return {"e": e, "d": d, "l": limit(classifier, e, d)}

    def measure_row(self, name: str, row: Row, with_rates: bool) -> Result:
        """The row's figures, or why a rival does not run here. Raises WorkFailed for our rows, WrongAnswer for any."""
        port, requests = find_free_port(), self.write_requests(row.path, row.post)
        if row.model:
            write_model(row.model, self.scratch, self.images)
        try:
            with start_row(name, self.envs, self.scratch, port, requests[0].read_bytes()) as tree:
                self.check_answers(name, row, port, requests)
                return self.measure_loads(name, port, requests, tree, with_rates)
        except WorkFailed as failure:
            if not row.packages:
                raise WorkFailed(f"{name}: {failure}") from None
            report_progress(f"{name}: {failure}")
            return {"failed": str(failure)}

    def measure_loads(
        self, name: str, port: int, requests: Sequence[Path], tree: ProcessTree, with_rates: bool
    ) -> Result:
        """Measure the closed loops, then the open ones. Those whose p99 is printed may last longer."""

        def measure(load: Load, seconds: float) -> Result:
            figures = run_load(self.client, port, load, seconds, requests)
            figures = figures._replace(resident_mib=tree.take_peak_mib())
            report_progress(
                f"{name}: {load.number:g} {load.kind}: {figures.images_per_s:.1f} images/s, "
                f"p99 {figures.p99:.0f} ms of {figures.good} answers"
            )
            return figures._asdict()

        closed: dict[str, Result] = {}
        capacity = 0.0  # images/s
        for clients in CLIENTS:
            seconds = self.seconds if clients < COMPARED else choose_seconds(capacity, self.seconds, self.longest)
            closed[str(clients)] = measure(Load("clients", clients), seconds)
            capacity = max(capacity, closed[str(clients)]["images_per_s"])
        if not capacity:
            raise WorkFailed("no answer in any closed loop")
        rates: dict[str, Result] = {}
        for times in RATES if with_rates else ():
            seconds = choose_seconds(min(times, 1) * capacity, self.seconds, self.longest)
            rates[f"{times:g}"] = measure(Load("rate", times * capacity), seconds)
        return {"clients": closed, "capacity": capacity, "rates": rates}

    def check_answers(self, name: str, row: Row, port: int, requests: Sequence[Path]) -> None:
        """Ask the server for the sure photographs. Raises WrongAnswer if a class is not the model's in fp32."""
        judge = NULL if row.model in (NULL, NULL_FULL) else ""
        for number, index in self.find_sure_photographs(judge).items():
            status, body = send(port, requests[number].read_bytes())
            if status != HTTPStatus.OK or top1_index(row, body) != index:
                answer = f"{name} answers {status} {one_line(body.decode())} to {self.photographs[number]}"
                raise WrongAnswer(f"{answer}, but the model's class is {index}; nothing is measured")

    def _find_sure_photographs(self, model: str) -> dict[int, int]:
        """Photographs on which the model is sure, by number, with the class. Raises WrongAnswer without any."""
        classifier, found = self.open_classifier(model, "fp32"), {}
        for number, photograph in enumerate(self.photographs):
            pixels, _ = decode(photograph.read_bytes(), classifier.contract)
            probabilities = classifier.forward(pixels[None])[0][0]
            first, second = np.sort(probabilities)[:-3:-1]
            if first - second >= LEAD:
                found[number] = int(probabilities.argmax())
            if len(found) == CHECKED:
                break
        if not found:
            raise WrongAnswer(
                "the model is sure of no photograph, so the servers' answers cannot be compared; name other --images"
            )
        return found

    def write_requests(self, path: str, post: Post) -> list[Path]:
        """Write the whole request of each photograph to a file."""
        folder = self.scratch / path.replace("/", "-")
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number:06}" for number in range(len(self.photographs))]
        for file, photograph in zip(files, self.photographs, strict=True):
            file.write_bytes(post(path, photograph.read_bytes()))
        return files


def choose_seconds(speed: float, least: float, longest: float) -> float:
    """Seconds in which `speed` answers/s are enough for a p99; `least` where these would be more than `longest`."""
    needed = MARGIN * P99_ANSWERS / speed if speed else math.inf
    return max(least, needed) if needed <= longest else least


def report_progress(line: str) -> None:
    """Print a line to stderr."""
    print(line, file=sys.stderr)
