"""bench/serving: the load generator counts answers by status, ratios compare one round, bad input is one line."""

import json
import math
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.serving.client import (
    P99_ANSWERS,
    Answer,
    Load,
    compile_client,
    parse_output,
    percentiles,
    run_load,
    summarize,
)
from bench.serving.measure import MARGIN, choose_seconds
from bench.serving.models import write_model
from bench.serving.post import find_rgb_jpegs, inference_request, raw_request
from bench.serving.process import send
from bench.serving.report import render_report
from bench.serving.rivals.tencrop_numpy import average_softmax, decode_square, ten_crops
from bench.serving.rows import RATES, ROWS, command_line, top1_index
from tencrop.common.errors import BadInput
from tencrop.images.decode import decode
from tencrop.model.contract import FULL_DECODING, Contract
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import TenCropFile, parse_onnx

SECONDS = 0.5


def test_percentiles_are_measured_times() -> None:
    answers = [Answer(200, 0, took / 1000) for took in range(1, 701)]
    assert percentiles(answers) == pytest.approx((351, 694))
    assert percentiles(answers[:1]) == pytest.approx((1, math.nan), nan_ok=True)
    assert all(math.isnan(value) for value in percentiles([]))


def test_a_p99_needs_so_many_answers_that_two_are_above_the_true_one() -> None:
    """With 99 % confidence: the chance of at most one above it is at most 1 %."""

    def at_most_one_above(answers: int) -> float:
        return 0.99**answers + answers * 0.01 * 0.99 ** (answers - 1)

    assert at_most_one_above(P99_ANSWERS) <= 0.01 < at_most_one_above(P99_ANSWERS - 1)
    answers = [Answer(200, 0, 0.1)] * P99_ANSWERS
    assert percentiles(answers)[1] == pytest.approx(100)
    assert math.isnan(percentiles(answers[1:])[1])


def test_the_output_of_the_load_generator_is_read() -> None:
    answers, answered, core = parse_output("200 -0.5 1.25\n429 0.25 0.001\nanswered 7\ncore 0.0125\n")
    assert answers == [Answer(200, -0.5, 1.25), Answer(429, 0.25, 0.001)]
    assert (answered, core) == (7, 0.0125)
    assert parse_output("answered 0\ncore 0.5\n") == ([], 0, 0.5)


def test_figures_tell_answered_refused_and_failed_apart() -> None:
    early, late = Answer(200, -0.5, 0.6), Answer(200, 1.9, 0.3)  # due before the two seconds; answered after them
    answers = [early, Answer(200, 0.0, 0.1), late, Answer(429, 1.0, 0.02), Answer(0, 1.5, 10.0), Answer(500, 0.1, 0.1)]
    found = summarize(answers, Load("rate", 2), seconds=2, core=0.1, answered=9)
    assert found.images_per_s == 1.0  # the early answer and one more arrived in time
    assert (found.p50, found.p99, found.good) == pytest.approx((300, math.nan, 2), nan_ok=True)
    assert (found.refused, found.failed, found.offered, found.client_core, found.answered) == (1, 2, 5, 0.1, 9)
    assert math.isnan(found.refused_p99)
    closed = summarize(answers, Load("clients", 2), seconds=2, core=0.1, answered=9)
    assert (closed.images_per_s, closed.p50, closed.offered) == (1.0, 600, 4)


class Every(socketserver.StreamRequestHandler):
    """Answers every second request of a connection with 429, before it reads the body."""

    def handle(self) -> None:
        for number in range(100_000):
            length = 0
            while (line := self.rfile.readline().strip().lower()) != b"":
                length = int(line.split()[1]) if line.startswith(b"content-length") else length
            if not length:
                return
            status = b"429 Too Many Requests" if number % 2 else b"200 OK"
            self.wfile.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 7\r\n\r\nanswers")
            self.rfile.read(length)


class Server(socketserver.ThreadingTCPServer):
    """A threading server; its port is `server_address[1]`."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is no error."""


@pytest.fixture
def port() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Every) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def requests(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "one", tmp_path / "two"]
    for file, size in zip(files, (10, 500_000), strict=True):  # the second does not fit into a socket buffer
        file.write_bytes(raw_request("/predict", bytes(size)))
    return files


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.parametrize("load", [Load("clients", 3), Load("rate", 200)])
def test_the_load_generator_counts_the_answers_of_a_server(
    load: Load, port: int, requests: list[Path], tmp_path: Path
) -> None:
    assert send(port, requests[0].read_bytes()) == (200, b"answers")
    found = run_load(compile_client(tmp_path), port, load, SECONDS, requests)
    good = found.offered - found.refused
    assert not found.failed
    assert good >= 0.4 * found.offered > 8
    if load.kind == "rate":
        assert 0.6 * 200 * SECONDS < found.offered < 1.4 * 200 * SECONDS


def test_a_load_lasts_until_it_has_a_p99_where_that_takes_not_too_long() -> None:
    assert choose_seconds(speed=P99_ANSWERS, least=0.5, longest=60) == MARGIN
    assert choose_seconds(speed=P99_ANSWERS, least=3, longest=60) == 3
    assert choose_seconds(speed=P99_ANSWERS / 100, least=3, longest=60) == 3
    assert choose_seconds(speed=0, least=3, longest=60) == 3


def test_only_rgb_jpegs_are_used(tmp_path: Path) -> None:
    for name, mode in (("a/colour.jpg", "RGB"), ("a/grey.jpg", "L"), ("b/colour.png", "RGB")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new(mode, (8, 8)).save(tmp_path / name)
    (tmp_path / "b" / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    assert find_rgb_jpegs(tmp_path) == ([tmp_path / "a" / "colour.jpg"], 3)


def test_an_open_inference_request_states_its_lengths() -> None:
    head, _, body = inference_request("/v2/models/m/infer", b"photo").partition(b"\r\n\r\n")
    fields = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
    length = int(fields["Inference-Header-Content-Length"])
    assert int(fields["Content-Length"]) == len(body)
    assert json.loads(body[:length])["inputs"][0]["parameters"] == {"binary_data_size": 9}
    assert body[length:] == b"\x05\0\0\0photo"


def test_the_class_is_read_from_each_servers_answer() -> None:
    assert top1_index(ROWS["ours"], b'{"top": [{"index": 7}, {"index": 1}]}') == 7
    assert top1_index(ROWS["litserve"], b'{"index": 7, "probability": 0.5}') == 7
    assert top1_index(ROWS["triton"], b'{"outputs": [{"name": "index", "data": [7]}]}') == 7
    options = ["--port", "80", "--precision", "fp32"]
    assert command_line(ROWS["ours-fp32"], Path("python"), 80, Path("x")) == [
        "python",
        "-m",
        "tencrop",
        "serve",
        *options,
    ]


def test_rivals_decode_to_the_same_pixels_as_ours(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 451, 3), np.uint8)).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    np.testing.assert_array_equal(decode_square(data), decode(data, Contract())[0])


def test_rivals_average_the_same_ten_views() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    mean = np.full((3, 256, 256), 100, np.float32)
    views = ten_crops(squares, mean).reshape(2, 10, 3, 224, 224)
    for view, crop in zip(Contract().views, views[1], strict=True):
        part = squares[1, view.top : view.top + 224, view.left : view.left + 224]
        np.testing.assert_array_equal(crop, (part[:, ::-1] if view.mirrored else part).transpose(2, 0, 1) - 100.0)
    logits = np.zeros((20, 4), np.float32)
    logits[:10, 1] = np.log(3)
    np.testing.assert_allclose(average_softmax(logits), [[1 / 6, 3 / 6, 1 / 6, 1 / 6], [0.25] * 4], rtol=1e-6)


def a_load(images_per_s: float, **others: float) -> dict[str, float]:
    base = summarize([Answer(200, 0, 0.1)], Load("clients", 1), 1, 0.01, 1)._replace(images_per_s=images_per_s)
    return {**base._asdict(), **others}


def a_round(speeds: dict[str, float], limit: float) -> dict[str, Any]:
    limits = {"e": 2 * limit, "d": 0.002, "l": limit}
    return {
        name: {
            **limits,
            "clients": {clients: a_load(speed) for clients in ("1", "4", "16", "64")},
            "capacity": speed,
            "rates": {},
        }
        for name, speed in speeds.items()
    }


def a_result(*rounds: dict[str, Any], form: str = "photographs") -> dict[str, Any]:
    return {"machine": "a machine", "form": form, "photographs": "2 JPEGs", "seconds": 1, "rounds": list(rounds)}


def test_ratios_are_taken_within_a_round() -> None:
    text = render_report(a_result(a_round({"ours": 80, "fastapi": 4}, 100), a_round({"ours": 40, "fastapi": 5}, 80)))
    assert "- ours / fastapi: 14.00 (each round: 20.00, 8.00); goal: 10" in text
    assert "- ours / L: 0.65 (each round: 0.80, 0.50); goal: 0.85" in text
    assert "ours-fp32" not in text
    assert "Open loop" not in text


def test_telephones_have_a_table_for_each_engine_with_goals_of_its_own() -> None:
    speeds = {"ours": 40.0, "ours-full": 10.0, "fastapi": 4.0, "ours-null": 60.0, "ours-null-full": 12.0}
    text = render_report(a_result(a_round(speeds, 50), form="telephones"))
    assert "- ours / L: 0.80 (each round: 0.80); goal: 0.9" in text
    assert "- ours / ours-full: 4.00 (each round: 4.00); goal: 1.8" in text
    assert "- ours / fastapi: 10.00 (each round: 10.00)\n" in text
    assert text.index("## Photographs of telephones, with an engine") < text.index("- ours-null / ours-null-full: 5.00")
    assert "As shipped" not in text


def test_a_model_that_decodes_in_full_keeps_its_net_and_its_labels(tmp_path: Path) -> None:
    full, embedded = (TenCropFile.read(folder) for folder in (write_model("full", tmp_path, tmp_path), EMBEDDED))
    assert full.metadata.contract.decode == FULL_DECODING != embedded.metadata.contract.decode
    assert full.metadata.contract == replace(embedded.metadata.contract, decode=FULL_DECODING)
    assert parse_onnx(full.graph, "full").graph == parse_onnx(embedded.graph, "embedded").graph


def test_a_rival_that_does_not_run_here_says_why() -> None:
    only = a_round({"ours": 80}, 100)
    only["triton"] = {"failed": "no such library"}
    text = render_report(a_result(only))
    assert "does not run here: no such library" in text
    assert "ours / triton" not in text


def test_overload_is_compared_with_capacity() -> None:
    only = a_round({"ours": 80}, 100)
    loads = {f"{times:g}": a_load(80, p99=100 * times, resident_mib=400 + times) for times in RATES}
    loads["4"] |= {"good": 700, "refused": 900, "refused_p99": 12.0}
    only["ours"]["rates"] = loads
    only["ours"]["clients"]["64"]["p99"] = 200
    text = render_report(a_result(only))
    assert "over p99 at capacity, 64 clients: 2.00; goal: below 2" in text
    assert "with random arrivals: 4.00" in text
    assert "p99 of 429s, in ms: 12; goal: at most 50" in text
    assert "minus at capacity: +3 MiB" in text
    assert "| ours | 4 x | 320.0 | 80.0 | 100 | 400 | 700 | 900 | 12 |" in text


def test_a_p99_of_too_few_answers_is_left_out() -> None:
    only = a_round({"ours": 80}, 100)
    only["ours"]["rates"] = {f"{times:g}": a_load(80, resident_mib=400) for times in RATES}
    text = render_report(a_result(only))
    assert "| ours | `tencrop serve` | 80.0 | 80.0 | 80.0 | 80.0 | 100 |  | 1 | 400 | 1.00 x |" in text
    assert "| ours | 4 x | 320.0 | 80.0 | 100 |  | 1 | 0 |  | 0 | 400 |" in text
    assert "64 clients: too few answers; goal: below 2" in text
    assert "p99 of 429s, in ms: too few answers" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "{tmp}/none"], "{tmp}/none: no such folder; name a folder with photographs"),
        (["--images", "{tmp}"], "{tmp}: no RGB JPEG in or below this folder; name a folder with photographs"),
        (["--telephones", "--seconds", "0"], "--seconds and --rounds must be more than 0"),
        (["--images", "{tmp}", "--seconds", "0"], "--seconds and --rounds must be more than 0"),
        (["--images", "{tmp}", "--json", "{tmp}/x/y.json"], "{tmp}/x/y.json: no folder {tmp}/x to write it in"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.serving.__main__ import main

    monkeypatch.setattr(sys, "argv", ["bench.serving", *(argument.format(tmp=tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == message.format(tmp=tmp_path)


def test_a_missing_compiler_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(BadInput, match="install a compiler"):
        compile_client(tmp_path)
