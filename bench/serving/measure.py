"""Measurement: the photographs, the files that servers read, and a round of rows."""

import sys
from collections.abc import Collection, Sequence
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.serving.client import Load, compiled, load
from bench.serving.environment import made
from bench.serving.post import Post, plain_photographs
from bench.serving.process import Tree, ask, free_port, running
from bench.serving.rows import CLIENTS, RATES, ROWS, Row, command_line, top1
from bench.validation import decoding, engine_alone, most
from tencrop.common.errors import WorkFailed, one_line
from tencrop.export.net_graph import net_onnx
from tencrop.export.run import export
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions

ASKED = 8  # photographs on which all rows must agree before any is measured
CLEAR = 0.1  # by which their most probable label leads; bf16 may move a probability by 0.02

Result = dict[str, Any]  # of JSON


class WrongAnswer(Exception):
    """Servers that do not answer alike are not compared."""


class Measurement:
    """All that the rounds share. Raises BadInput for the folder, WorkFailed where the client does not compile."""

    def __init__(self, images: Path, envs: Path, scratch: Path, seconds: float) -> None:
        self.images = images
        self.photographs, skipped = plain_photographs(images)
        self.about = f"{len(self.photographs)} JPEGs in RGB; {skipped} images that are none are left out"
        self.envs, self.scratch, self.seconds = envs, scratch, seconds
        self.client = compiled(scratch)
        self.classifiers = {
            precision: open_classifier(EMBEDDED, EngineOptions(precision=precision)) for precision in ("auto", "fp32")
        }
        checkpoint = Checkpoint.load(EMBEDDED / "checkpoint")
        onnx.save(net_onnx(checkpoint), scratch / "net.onnx")
        np.save(scratch / "mean.npy", checkpoint.mean)

    def round(self, names: Sequence[str], with_rates: Collection[str]) -> Result:
        """Each row once, some with open loops; before ours, what the machine can give at most."""
        rows = {}
        for name in names:
            most = self.most(self.classifiers[ROWS[name].precision]) if ROWS[name].precision else {}
            rows[name] = {**most, **self.row(name, ROWS[name], name in with_rates)}
        return rows

    def most(self, classifier: Classifier) -> dict[str, float]:
        """e, images/s; d, seconds of a core; l, images/s."""
        d, images = decoding(classifier, self.photographs)
        e = engine_alone(classifier, images)
        say(f"{classifier.engine.precision}: E {e:.1f} images/s, d {1000 * d:.2f} ms")
        return {"e": e, "d": d, "l": most(classifier, e, d)}

    def row(self, name: str, row: Row, with_rates: bool) -> Result:
        """Its figures; where a rival does not run here, the reason. Raises WorkFailed for ours, WrongAnswer for any."""
        port, requests = free_port(), self.requests(row.path, row.post)
        if "{files}/int8" in row.command and not (self.scratch / "int8").exists():
            export(EMBEDDED / "checkpoint", self.scratch / "int8", "int8", 0, self.images)
        try:
            python = (
                made(self.envs / name.removesuffix("-fp32"), row.packages) if row.packages else Path(sys.executable)
            )
            command = command_line(row, python, port, self.scratch)
            with running(command, row.variables, self.scratch / f"{name}.log", port, requests[0].read_bytes()) as tree:
                self.compare(name, row, port, requests)
                return self.loads(name, port, requests, tree, with_rates)
        except WorkFailed as failure:
            if not row.packages:
                raise WorkFailed(f"{name}: {failure}") from None
            say(f"{name}: {failure}")
            return {"failed": str(failure)}

    def loads(self, name: str, port: int, requests: Sequence[Path], tree: Tree, with_rates: bool) -> Result:
        """Closed loops, then open ones."""

        def one(asked: Load) -> Result:
            figures = load(self.client, port, asked, self.seconds, requests)._replace(resident_mib=tree.most_mib())
            say(f"{name}: {asked.number:g} {asked.kind}: {figures.images_per_s:.1f} images/s, p99 {figures.p99:.0f} ms")
            return figures._asdict()

        closed = {str(clients): one(Load("clients", clients)) for clients in CLIENTS}
        capacity = max(figures["images_per_s"] for figures in closed.values())
        if not capacity:
            raise WorkFailed("no answer in any closed loop")
        rates = {f"{times:g}": one(Load("rate", times * capacity)) for times in RATES} if with_rates else {}
        return {"clients": closed, "capacity": capacity, "rates": rates}

    def compare(self, name: str, row: Row, port: int, requests: Sequence[Path]) -> None:
        """Raises WrongAnswer where the server takes a photograph for something else than the model does in fp32."""
        for number, index in self.clear.items():
            status, body = ask(port, requests[number].read_bytes())
            if status != HTTPStatus.OK or top1(row, body) != index:
                said = f"{name} answers {status} {one_line(body.decode())} to {self.photographs[number]}"
                raise WrongAnswer(f"{said}; the model's class is {index}: nothing is measured")

    @cached_property
    def clear(self) -> dict[int, int]:
        """Photographs by their number whose class nobody can mistake, with its index. Raises WrongAnswer where there is none."""
        classifier, found = self.classifiers["fp32"], {}
        for number, photograph in enumerate(self.photographs):
            pixels, _ = decode(photograph.read_bytes(), classifier.contract)
            probabilities = classifier.forward(pixels[None])[0][0]
            first, second = np.sort(probabilities)[:-3:-1]
            if first - second >= CLEAR:
                found[number] = int(probabilities.argmax())
            if len(found) == ASKED:
                break
        if not found:
            raise WrongAnswer(
                "the model is sure of no photograph: the servers' answers cannot be compared; name other --images"
            )
        return found

    def requests(self, path: str, post: Post) -> list[Path]:
        """Each photograph as a file that holds the whole request."""
        folder = self.scratch / path.replace("/", "-")
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number:06}" for number in range(len(self.photographs))]
        for file, photograph in zip(files, self.photographs, strict=True):
            file.write_bytes(post(path, photograph.read_bytes()))
        return files


def say(what: str) -> None:
    """Progress."""
    print(what, file=sys.stderr)
