"""The command line: each command does its job end to end, and bad input is exit code 2 with one line."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import call, log_to_stderr
from typer.main import get_command

from tencrop import __version__
from tencrop.cli import app
from tencrop.commands.command_groups import GROUPS, name_command
from tencrop.common.terminal_text import escape_lines
from tencrop.model.embedded import EMBEDDED


def test_info_describes_the_embedded_model_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "info") == 0
    default = capsys.readouterr().out
    assert call(monkeypatch, "info", str(EMBEDDED)) == 0
    assert default == capsys.readouterr().out and "\n  pizza: pizza\n" in default


HOSTILE = ["a\x1b[2Jb.jpg", "new\nline.jpg", "bidi\u202e.jpg", "c1\x9b31m.jpg", "raw\udcff\udcfe.jpg", "grüße.jpg"]
MODEL = "m\x1b[2J\n\u202e.onnx"


@pytest.fixture(scope="module")
def hostile(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs, and the embedded model, whose names and labels hold what acts on a terminal."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in HOSTILE:
        (folder / name).write_bytes(photographs["china"].read_bytes())
    model = onnx.load(EMBEDDED / "tencrop.onnx")
    for entry in model.metadata_props:
        if entry.key == "tencrop.labels":
            labels = json.loads(entry.value)
            entry.value = json.dumps(
                [{"id": label["id"], "name": label["name"] + "\x1b[31m\u202e"} for label in labels]
            )
    onnx.save(model, folder / MODEL)
    return folder


class Printed(NamedTuple):
    """The output of a command and its exit code."""

    code: int
    out: bytes
    err: bytes


@pytest.fixture(params=["utf-8", "ascii"])
def run_hostile(
    request: pytest.FixtureRequest, hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Printed]:
    """Run a command in the hostile folder. What it prints must be UTF-8 that acts on no terminal."""

    def run(*arguments: str) -> Printed:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=request.param) for _ in range(2))
        err.reconfigure(errors="backslashreplace")  # as Python sets up stderr
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        code = call(monkeypatch, *arguments)
        written = []
        for stream in (out, err):
            stream.flush()
            written.append(stream.buffer.getvalue())
            assert escape_lines(written[-1].decode()) == written[-1].decode()
        return Printed(code, *written)

    monkeypatch.chdir(hostile)
    return run


@pytest.mark.slow
def test_names_and_labels_cannot_act_on_a_terminal(run_hostile: Callable[..., Printed]) -> None:
    printed = run_hostile("predict", *HOSTILE, "--model", MODEL, "--top", "1")
    assert printed.code == 0 and printed.out.count(b"\n") == 3 * len(HOSTILE)
    assert b"a\\x1b[2Jb.jpg\n" in printed.out and b"helicopter\\x1b[31m\\u202e\n" in printed.out
    described = run_hostile("info", MODEL)
    assert described.code == 0 and b"bonsai\\x1b[31m\\u202e\n" in described.out
    for arguments, code in (
        (("predict", "no\x1b\n\u202e"), 1),
        (("info", "\x9b"), 2),
        (("predict", MODEL), 1),
        (("evaluate", "\udcff\x1b"), 2),
    ):
        failed = run_hostile(*arguments)
        assert failed.code == code and failed.err.count(b"\n") == 1 and not failed.out


def test_json_is_utf_8_for_any_name(run_hostile: Callable[..., Printed]) -> None:
    printed = run_hostile("predict", *HOSTILE, "--model", MODEL, "--json")
    assert [json.loads(line)["image"] for line in printed.out.splitlines()] == HOSTILE
    described = run_hostile("info", MODEL, "--json")
    assert "helicopter: helicopter\x1b[31m\u202e" in json.loads(described.out)["labels"]


@pytest.mark.slow
def test_compared_names_cannot_act_on_a_terminal(run_hostile: Callable[..., Printed], tmp_path: Path) -> None:
    data, runs = tmp_path / "data\x1b[2J", [str(tmp_path / name) for name in ("a\x1b\n\u202e", "b")]
    (data / "pagoda").mkdir(parents=True)
    for name in HOSTILE:
        if "\udcff" not in name:
            (data / "pagoda" / name).write_bytes(Path(name).read_bytes())
    for out in runs:
        assert run_hostile("evaluate", str(data), "--model", MODEL, "--out", out).code == 0
    compared = run_hostile("compare", *runs)
    assert compared.code == 0 and b"a\\x1b\\n\\u202e: m\\x1b[2J" in compared.out.splitlines()[0]
    assert json.loads(run_hostile("compare", *runs, "--json").out)["a"]["folder"] == runs[0]


def test_a_run_that_is_refused_prints_one_line_and_no_bar(
    tmp_path: Path, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pagoda", "sunflower"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.jpg").write_bytes(photographs["china"].read_bytes())
    (tmp_path / "out").write_text("no folder")
    for command in (("prepare", str(tmp_path / "data")), ("evaluate", str(tmp_path / "data"), "--out")):
        assert call(monkeypatch, *command, str(tmp_path / "out")) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_evaluate_prints_both_errors(
    tmp_path: Path, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pagoda").mkdir()
    (tmp_path / "pagoda/china.jpg").write_bytes(photographs["china"].read_bytes())
    assert call(monkeypatch, "evaluate", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert (
        "1 images (0 undecodable)" in printed
        and "center crop  top-1 error" in printed
        and "ten views    top-1 error" in printed
    )


def test_evaluate_measures_a_data_sets_own_validation_images(
    tmp_path: Path, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train/pagoda/1.jpg", "train/sunflower/1.jpg", "val/pagoda/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(photographs["china"].read_bytes())
    assert call(monkeypatch, "evaluate", str(tmp_path), "--holdout", "0.9", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n"] == 1 and "listing" not in printed.err


def test_evaluate_counts_an_image_that_its_list_names_and_that_is_missing_as_wrong(
    tmp_path: Path, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/flower.jpg").write_bytes(photographs["flower"].read_bytes())
    (tmp_path / "list.csv").write_text("path,label\nflower.jpg,sunflower\ngone.jpg,sunflower\n")
    assert call(monkeypatch, "evaluate", str(tmp_path / "data"), "--list", str(tmp_path / "list.csv"), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["n"], summary["undecodable"], summary["account"]["undecodable"]) == (2, 1, {"missing": 1})
    assert summary["ten_crop"]["top5_error"] >= 0.5


TABLE_OPTIONS = {"--config": "b", "--image-root": "photos", "--image-column": "img", "--label-column": "genus"}


@pytest.mark.parametrize("command", [("evaluate", "tables"), ("prepare", "tables", "out")], ids=["evaluate", "prepare"])
def test_the_options_of_tables_are_all_read(
    command: tuple[str, ...],
    photographs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In tables that can be read with all of them, and not without any one of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photographs["china"].parent)
    table = pa.table({"img": ["china.jpg"] * 2, "png": [b""] * 2, "genus": ["pagoda", "pizza"], "class": [0, 1]})
    table = table.append_column("target", table["class"])
    for config in "ab":
        (tmp_path / "tables" / config).mkdir(parents=True)
        pq.write_table(table, tmp_path / "tables" / config / "train.parquet")
    for left_out in TABLE_OPTIONS:
        given = [part for option in TABLE_OPTIONS.items() if option[0] != left_out for part in option]
        assert call(monkeypatch, *command, *given) == 2
        assert left_out in capsys.readouterr().err
    assert call(monkeypatch, *command, *(part for option in TABLE_OPTIONS.items() for part in option)) == 0
    assert "2 seen: 2 taken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "*.jpg"), "*.jpg: no file matches"),
        (("predict", "."), ".: holds no images"),
        (("predict", "x.jpg", "--json", "--csv"), "give one of them"),
        (("predict", "x.jpg", "--quiet", "--verbose"), "give one of them"),
        (("evaluate", "missing"), "no such folder"),
        (("evaluate", "missing", "--resume"), "--resume: needs --out DIR"),
        (("evaluate", "missing", "--ray"), "--ray: needs --out DIR"),
        (("evaluate", "missing", "--ray", "--out", "x", "--workers", "2"), "--workers: does not apply with --ray"),
        (("export", "missing", "out"), "no checkpoint here"),
        (("export", "missing", "out", "--weights", "int4"), "--weights int4"),
        (("prepare", "missing", "out"), "no such folder"),
        (("train", "caltech101", "--data", "missing", "--out", "x"), "not a finished prepared data set"),
        (("train", "nonsense", "--data", "missing", "--out", "x"), "no such recipe"),
        (("train", "finetune", "--data", "x", "--out", "x", "--start", "a b=c"), "a b=c: no checkpoint here"),
        (("train", "paper", "--data", "x", "--out", "x", "--set", "optim.lr=fast"), "optim.lr"),
        (("serve", "--device", "tpu"), "device tpu"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and said.startswith("tencrop: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--fast"),
        ("evaluate", ".", "--limit", "0"),
        ("evaluate", ".", "--holdout", "2"),
        ("predict",),
        ("dance",),
        ("serve", "--port", "x"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("tencrop: ")


COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_help_says_what_tencrop_is_and_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "-h") == 0
    said = capsys.readouterr().out
    assert "AlexNet of 2012" in said and "..." not in said.partition("Use a net")[2]
    assert re.findall(r"^  (\w+)  ", said.partition("Use a net:")[2], re.MULTILINE) == [
        name_command(command) for commands in GROUPS.values() for command in commands
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_a_screen_and_names_no_installed_path(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, command, "-h") == 0
    said = capsys.readouterr().out
    assert said.count("\n") <= 42 and str(EMBEDDED.parents[2]) not in said
    assert "-q, --quiet" in said and "-v, --verbose" in said


def test_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"tencrop {__version__}\n"


def test_shells_complete_the_names_of_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("_TENCROP_COMPLETE", "complete_bash"), ("COMP_WORDS", "tencrop ev"), ("COMP_CWORD", "1")):
        monkeypatch.setenv(name, value)
    assert call(monkeypatch) == 0
    assert capsys.readouterr().out.split() == ["evaluate"]


def test_a_mistyped_command_is_told_the_one_that_is_like_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "evalaute") == 2
    assert "Did you mean 'evaluate'?" in capsys.readouterr().err


@pytest.mark.slow
def test_quiet_leaves_the_results(
    photographs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(monkeypatch)
    (tmp_path / "data/pagoda").mkdir(parents=True)
    (tmp_path / "data/pagoda/china.jpg").write_bytes(photographs["china"].read_bytes())
    runs = [str(tmp_path / name) for name in "ab"]
    commands = [
        ("predict", str(tmp_path / "data")),
        *(("evaluate", str(tmp_path / "data"), "--out", run) for run in runs),
        ("compare", *runs),
        ("info",),
    ]
    for command in commands:
        assert call(monkeypatch, *command, "--quiet") == 0
        printed = capsys.readouterr()
        assert printed.out and not printed.err, command


def test_verbose_tells_the_engine_the_time_and_where_an_error_comes_from(
    photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(monkeypatch)
    assert call(monkeypatch, "predict", str(photographs["china"]), "-v") == 0
    said = capsys.readouterr().err
    assert re.search(r"^caltech101: \w+ on cpu in ", said, re.MULTILINE), said
    assert re.search(r"^\d+\.\d s$", said, re.MULTILINE)
    assert call(monkeypatch, "info", "missing", "-v") == 2
    said = capsys.readouterr().err
    assert said.startswith("tencrop: missing: ") and "Traceback" in said and "describe_file" in said


@pytest.mark.slow
def test_an_interrupted_evaluation_says_how_to_go_on(
    photographs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/pagoda").mkdir(parents=True)
    (tmp_path / "data/pagoda/china.jpg").write_bytes(photographs["china"].read_bytes())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tencrop.evaluation.evaluate.evaluate_chunks", interrupt)
    command = ("evaluate", str(tmp_path / "data"))
    assert call(monkeypatch, *command, "--out", str(tmp_path / "run")) == 130
    assert capsys.readouterr().err == "tencrop: stopped; what was done is saved: go on with --resume\n"
    assert call(monkeypatch, *command) == 130
    assert not capsys.readouterr().err.strip()
    monkeypatch.undo()
    assert call(monkeypatch, *command, "--out", str(tmp_path / "run"), "--resume") == 0


def test_an_interrupted_preparation_says_how_to_go_on(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tencrop.dataset.prepare._prepare_parts", interrupt)
    assert call(monkeypatch, "prepare", str(tiny_folder), str(tmp_path / "out")) == 130
    assert capsys.readouterr().err == "tencrop: stopped; what is done is kept: run it again to go on\n"


def test_no_command_is_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch) == 0
    assert "evaluate" in capsys.readouterr().out


def test_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "part-00000.bin")

    monkeypatch.setattr("tencrop.dataset.layouts.open_source", full)
    assert call(monkeypatch, "prepare", str(tmp_path / "data"), str(tmp_path / "out")) == 1
    assert capsys.readouterr().err == "tencrop: part-00000.bin: No space left on device\n"


@pytest.mark.slow
def test_whole_path_from_photographs_to_errors(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """prepare, train, export, evaluate: the files of each are what the next one reads, and each names the next."""
    log_to_stderr(monkeypatch)
    recipe = tmp_path / "tiny.toml"
    settings = (
        'base = "caltech101"',
        "epochs = 1",
        'precision = "fp32"',
        "compile = false",
        "[net]",
        "fc6 = {units = 8}",
        "fc7 = {units = 8}",
    )
    recipe.write_text("\n".join((*settings, "[optim]", "batch = 4", "")))
    data, run, out = (str(tmp_path / name) for name in ("data", "run", "out"))
    assert call(monkeypatch, "prepare", str(tiny_folder), data, "--holdout", "0.2") == 0
    assert call(monkeypatch, "train", str(recipe), "--data", data, "--out", run, "--workers", "0") == 0
    assert call(monkeypatch, "export", run, out) == 0
    assert call(monkeypatch, "evaluate", str(tiny_folder), "--model", out, "--holdout", "0.2", "--json") == 0
    printed, said = capsys.readouterr()
    summary = json.loads(printed[printed.index('{\n "n"') :])
    assert summary["n"] == 6 and summary["model"]["name"] == "out"
    for line in (
        f"next: tencrop train caltech101 --data {data} --out runs/caltech101",
        "epoch 1 of 1: loss ",
        f"next: tencrop export {run} out",
        f"{run}: the newest whole checkpoint is checkpoint-0001",
        "comparing openvino with torch",
        f"next: tencrop evaluate DATA --model {out}",
        "nothing is kept; --out DIR",
    ):
        assert f"\n{line}" in f"\n{said}", line
