"""bench/runtimes: answers are compared as probabilities, a row without an answer says why, and a real row runs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from bench.runtimes import measure
from bench.runtimes.files import FILES, Task, write_task
from bench.runtimes.measure import Found, compare, describe_failure, measure_row, shorten
from bench.runtimes.rows import ROWS, RUNNERS
from bench.runtimes.runners.onnx_reference_lrn import LRN
from bench.runtimes.table import render_table
from tencrop.common.errors import WorkFailed
from tencrop.model.probe import formula_image

LOGITS = np.log(np.array([[1, 3], [1, 1]], np.float32))
ROW = "onnxruntime-1.32.0"


def make_task(output: str) -> Task:
    """Batches of one and of two images. The probabilities are 1/4 and 3/4, and 1/2 each of the second image."""
    expected = np.array([[0.25, 0.75], [0.5, 0.5]])
    return Task(Path("files/net.onnx"), output, [Path("1.npy"), Path("2.npy")], [expected[:1], expected])


def test_logits_are_compared_as_probabilities() -> None:
    assert compare([LOGITS[0] + 7, LOGITS.ravel()], make_task("logits")) == pytest.approx(0, abs=1e-7)
    assert compare([LOGITS[0], LOGITS[::-1].ravel()], make_task("logits")) == pytest.approx(0.25)
    answers = [np.array([0.25, 0.75]), np.array([0.2, 0.8, 0.5, 0.5])]
    assert compare(answers, make_task("probabilities")) == pytest.approx(0.05)


def test_a_value_that_is_no_number_is_no_agreement() -> None:
    assert np.isnan(compare([np.array([np.nan, 0.75]), np.full(4, 0.5)], make_task("probabilities")))


def test_answers_of_another_size_are_told() -> None:
    found = compare([np.zeros(2), np.zeros(40)], make_task("probabilities"))
    assert found == "2 and 40 values instead of 2 and 4"


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (1, "a warning\nValueError: no such operator\n", "ValueError: no such operator"),
        (1, "", "ends with 1"),
        (-11, "x", "ends by SIGSEGV"),
    ],
    ids=["error", "silence", "signal"],
)
def test_a_failure_is_its_last_line_or_its_signal(code: int, stderr: str, reason: str) -> None:
    assert describe_failure(subprocess.CompletedProcess([], code, "", stderr)) == reason


def test_a_long_reason_keeps_both_ends_on_one_line() -> None:
    reason = shorten("error: /envs/x/a.cpp:7 (in\nfunction)" + " and" * 50 + " Inconsistent shape", Path("/envs/x"))
    assert reason.startswith("error: a.cpp:7 (in function) a ... ") and reason.endswith(" and Inconsistent shape")


def test_a_row_that_cannot_be_installed_says_so_for_both_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(folder: Path, *packages: object) -> None:
        raise WorkFailed(f"{folder}/bin/python -m pip install: no distribution | for this Python")

    monkeypatch.setattr(measure, "make_environment", refuse)
    found = measure_row(ROWS[ROW], tmp_path, dict.fromkeys(FILES, make_task("logits")))
    reason = "not installable: bin/python -m pip install: no distribution / for this Python"
    assert found == dict.fromkeys(FILES, reason)


def test_every_row_has_a_runner() -> None:
    runners = {row.command.split()[-1] for row in ROWS.values() if "/node " not in row.command}
    assert {f"{name}.py" for name in runners} == {path.name for path in RUNNERS.glob("*.py")} - {"__init__.py"}


def test_the_table_has_the_chosen_rows_in_the_order_of_all() -> None:
    found: dict[str, Found] = {
        "tract": {"tencrop.onnx": 5.96e-7, "net.onnx": 0.0},
        ROW: {"tencrop.onnx": "ends by SIGSEGV", "net.onnx": 2e-6},
    }
    assert render_table(found).splitlines() == [
        "| runtime | version | tencrop.onnx, ten views | net.onnx, one view |",
        "|---|---|---|---|",
        "| onnxruntime | 1.32.0 | ends by SIGSEGV | 2e-06 |",
        "| tract | 0.23.9 | 6e-07 | 0e+00 |",
    ]


def test_onnxs_own_lrn_loops_over_the_batch_and_ours_over_the_channels() -> None:
    """Expected: the formula of ONNX's specification, channel by channel."""
    x = np.random.default_rng(0).normal(0, 30, (2, 7, 3, 3)).astype(np.float32)
    size, alpha, beta, bias = 4, 0.02, 0.75, 2.0
    expected = np.empty_like(x)
    for channel in range(7):
        around = x[:, max(0, channel - (size - 1) // 2) : channel + size // 2 + 1]
        expected[:, channel] = x[:, channel] / (bias + alpha / size * (around**2).sum(axis=1)) ** beta
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=alpha, beta=beta, bias=bias)

    def run(*operators: type[OpRun]) -> np.ndarray:
        (values,) = ReferenceEvaluator(node, new_ops=list(operators)).run(None, {"x": x})
        return np.asarray(values)

    theirs = run()
    np.testing.assert_allclose(run(LRN), expected, rtol=1e-5)
    np.testing.assert_allclose(theirs[:, :2], expected[:, :2], rtol=1e-5)  # as many channels as images
    np.testing.assert_allclose(theirs[:, 2:], x[:, 2:] / bias**beta, rtol=1e-5)


@pytest.mark.slow
def test_a_row_runs_in_its_own_environment(null_model: Path, tmp_path: Path) -> None:
    images = np.stack([formula_image(seed, 256, 256) for seed in range(4)])
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "tencrop.onnx").write_bytes(null_model.read_bytes())
    task = write_task(folder, "tencrop.onnx", images)
    (found,) = measure_row(ROWS[ROW], tmp_path / "env", {"tencrop.onnx": task}).values()
    if "No matching distribution" in str(found):
        pytest.skip("needs an index of packages, which does not answer")
    assert isinstance(found, float) and found < 1e-6
    wrong = task._replace(expected=[1 - each for each in task.expected])
    (found,) = measure_row(ROWS[ROW], tmp_path / "env", {"tencrop.onnx": wrong}).values()
    assert isinstance(found, float) and found > 0.1
    other = replace(ROWS[ROW], command=ROWS[ROW].command.replace("onnxruntime_session", "tract_model"))
    (found,) = measure_row(other, tmp_path / "env", {"tencrop.onnx": task}).values()
    assert found == "ModuleNotFoundError: No module named 'tract'"
