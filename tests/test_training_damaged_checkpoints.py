"""`train --resume` at a damaged checkpoint: one line, exit code 2, and the newest whole checkpoint is named."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support.checkpoint_damage import (
    OF_FILES,
    OF_TENSORS,
    Damage,
    Field,
    drop_field,
    edit_document,
    list_fields,
    set_field,
    truncate,
)
from support.epoch_records import make_record
from support.tiny_recipe import OVERRIDES

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.common.strict_config import parse
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.model.checkpoint import DOCUMENT
from tencrop.model.contract import Contract
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.model.run_progress import EpochProgress
from tencrop.training.parallel import World
from tencrop.training.recipe import Recipe, load
from tencrop.training.resume_check import FREE_TO_CHANGE, check_resumable
from tencrop.training.run_folder import RunFolder
from tencrop.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("process_left_alone")

SETTINGS = [*OVERRIDES, "epochs=1", "precision=fp16"]  # fp16 has a loss scale
NEWEST, WHOLE = "checkpoint-0001+000002", "checkpoint-0001"


@pytest.fixture(scope="module")
def trainer(tiny_prepared: PreparedStore) -> Trainer:
    with torch.random.fork_rng():
        return Trainer(load("caltech101", SETTINGS), tiny_prepared, World(0, 1, torch.device("cpu")))


@pytest.fixture(scope="module")
def stopped(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after two of the second epoch's three batches. Its weights are those of the beginning."""
    out = tmp_path_factory.mktemp("stopped")
    with RunFolder(out, trainer.recipe) as run:
        trainer.end_epoch(make_record())
        run.save(trainer.make_checkpoint())
        trainer.progress = EpochProgress(steps=2, loss=2.2, wrong=9.0, seconds=1.5)
        run.save(trainer.make_checkpoint())
    assert [path.name for path in list_checkpoints(out)] == [WHOLE, NEWEST]
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    """A copy for a test to damage."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


class Ended(NamedTuple):
    """How a command ended: its exit code, and its lines on stderr but those about progress."""

    code: int
    lines: list[str]


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `tencrop ARGUMENTS` in this process."""

    def run_command(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["tencrop", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("epoch ", "training "))]
        return Ended(int(ended.value.code or 0), lines)

    return run_command


@pytest.fixture
def train_on(command: Command, tiny_prepared: PreparedStore) -> Command:
    """Run `tencrop train` with the settings of the run, in the folder that is named first."""
    sets = [part for override in SETTINGS for part in ("--set", override)]
    arguments = ("train", "caltech101", "--quiet", "--data", tiny_prepared.root, "--workers", 0, *sets, "--out")
    return partial(command, *arguments)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OF_DOCUMENT: dict[str, Callable[[Any], object]] = {
    "no history": partial(drop_field, ("progress", "history")),
    "a history of other rows": partial(set_field, ("progress", "history"), [{"epoch": 1, "loss": 0.3}]),
    "a history of one more epoch": lambda document: document["progress"]["history"].append(
        document["progress"]["history"][0] | {"epoch": 2}
    ),
    "an epoch twice": lambda document: document["progress"]["history"].append(document["progress"]["history"][0]),
    "an error below 0": partial(set_field, ("progress", "history", 0, "center_top1_error"), -0.5),
    "an error above 1": partial(set_field, ("progress", "history", 0, "center_top5_error"), 1.5),
    "a rate that is NaN": partial(set_field, ("progress", "history", 0, "lr"), float("nan")),
    "a loss without end": partial(set_field, ("progress", "history", 0, "train_loss"), 10**400),
    "no scaler": partial(set_field, ("progress", "scaler"), {}),
    "a scale of 0": partial(set_field, ("progress", "scaler", "scale"), 0.0),
    "a scale beyond fp32": partial(set_field, ("progress", "scaler", "scale"), 1e39),
    "a growth of 2.5 steps": partial(set_field, ("progress", "scaler", "growth_interval"), 2.5),
    "a count beyond int32": partial(set_field, ("progress", "scaler", "_growth_tracker"), 2**40),
    "sessions in a table": partial(set_field, ("progress", "sessions"), {"0": {}}),
    "no part": partial(drop_field, ("progress", "part")),
    "a part below 0": partial(set_field, ("progress", "part", "steps"), -1),
    "a part of more batches": partial(set_field, ("progress", "part", "steps"), 1),
    "more wrong guesses than images": partial(set_field, ("progress", "part", "wrong"), 99.0),
    "a part with another field": partial(set_field, ("progress", "part", "epochs"), 1),
    "no recipe.optim": partial(set_field, ("recipe", "optim"), None),
    "an unknown key in the recipe": partial(set_field, ("recipe", "optimizer"), {}),
    "a net of more layers": partial(set_field, ("recipe", "net", "layers"), ["fc8 fc8"]),
    "deeper than Python's stack": partial(set_field, ("progress", "history"), "DEEP"),
}


def damage_document(name: str, folder: Path) -> None:
    edit_document(folder, OF_DOCUMENT[name])
    text = (folder / DOCUMENT).read_text()
    (folder / DOCUMENT).write_text(text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000))


DAMAGES: dict[str, Damage] = {
    **OF_FILES,
    **OF_TENSORS,
    **{name: partial(damage_document, name) for name in OF_DOCUMENT},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_one_line_that_names_the_newest_whole_one(
    run: Path, train_on: Command, damage: str
) -> None:
    DAMAGES[damage](run / NEWEST)
    before = read_files(run)
    ended = train_on(run, "--resume")
    assert ended.code == 2 and len(ended.lines) == 1
    assert ended.lines[0].startswith(f"tencrop: {run / NEWEST}")
    assert ended.lines[0].endswith(f"; {run / WHOLE} is whole: continue from it with --resume-from {run / WHOLE}")
    assert read_files(run) == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("recipe", "seed"), 7),
        (("recipe", "optim", "lr"), 0.5),
        (("recipe", "net", "lrn", "k"), 3.0),
        (("contract", "labels", 0, "name"), "x"),
    ],
    ids=["seed", "rate", "norm", "label"],
)
def test_an_edited_checkpoint_is_one_line_that_names_the_newest_whole_one(
    run: Path, train_on: Command, path: Field, value: object
) -> None:
    edit_document(run / NEWEST, partial(set_field, path, value))
    ended = train_on(run, "--resume")
    assert ended.code == 2 and len(ended.lines) == 1
    assert ended.lines[0].startswith("tencrop: --resume: the run")
    assert ended.lines[0].endswith(f"; {run / WHOLE} is whole: continue from it with --resume-from {run / WHOLE}")


def test_a_run_goes_on_from_a_whole_checkpoint_and_keeps_the_damaged_one(
    run: Path, train_on: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """Its recipe ends after the one epoch that it has. tests/test_training_train.py trains on."""
    truncate(run / NEWEST / DOCUMENT)
    damaged = read_files(run / NEWEST)
    assert train_on(run, "--resume-from", run / WHOLE) == Ended(0, [])
    assert caplog.messages == [f"--resume-from: {run / NEWEST} is now {NEWEST}.aside1"]
    assert read_files(run / f"{NEWEST}.aside1") == damaged
    assert train_on(run, "--resume") == Ended(0, [])


@pytest.mark.parametrize("how", [["--resume"], ["--resume-from", NEWEST]], ids=["resume", "resume-from"])
def test_a_run_without_a_whole_checkpoint_is_one_line(
    run: Path, train_on: Command, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    monkeypatch.chdir(run)
    for folder in (WHOLE, NEWEST):
        DAMAGES["net.fc8.bias NaN"](run / folder)
    ended = train_on(run, *how)
    assert ended.code == 2 and len(ended.lines) == 1
    assert "fc8.bias is not finite; no older one is whole: start again in another --out" in ended.lines[0]


@pytest.mark.parametrize("asked", ["checkpoint-0007", f"{WHOLE}.keep", "."])
def test_a_run_goes_on_only_from_a_checkpoint_of_its_own(run: Path, train_on: Command, asked: str) -> None:
    before = read_files(run)
    names = f"{WHOLE}, {NEWEST}"
    line = f"tencrop: --resume-from {run / asked}: not among the checkpoints of {run} ({names})"
    assert train_on(run, "--resume-from", run / asked) == Ended(2, [line])
    assert read_files(run) == before


READERS: dict[str, tuple[str, ...]] = {
    "info": ("info", NEWEST),
    "export": ("export", NEWEST, "out"),
    "start": ("train", "caltech101", "--out", "out", "--set", f"start={NEWEST}", "--data"),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_a_tensor_that_is_not_finite(
    run: Path, tiny_prepared: PreparedStore, command: Command, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.chdir(run)
    DAMAGES["net.conv1.weight NaN"](run / NEWEST)
    data = [tiny_prepared.root] if reader == "start" else []
    line = f"tencrop: {NEWEST}: damaged checkpoint: conv1.weight is not finite"
    assert command(*READERS[reader], *data) == Ended(2, [line])


def read_document(document: Any) -> tuple[Recipe, Contract, Any]:
    recipe, contract, progress = (document[key] for key in ("recipe", "contract", "progress"))
    return parse(Recipe, recipe, "recipe"), parse(Contract, contract, "contract"), progress


def may_be(path: Field, old: object, new: object) -> bool:
    """Whether a field may have another value: a key that is free to change, a note, a number in its range."""
    match path:
        case ("recipe", key, *_):
            return key in FREE_TO_CHANGE
        case ("progress", "sessions", *_):
            return True
        case ("progress", *_, name):
            return isinstance(old, float) and (new == 1.5 or (new == -1 and name in ("loss", "train_loss")))
    return False


STRANGE: dict[str, Any] = {
    "null": None,
    "true": True,
    "text": "x",
    "a list": [],
    "a table": {},
    "[null]": [None],
    "-1": -1,
    "1.5": 1.5,
    "400 digits": 10**400,
}


@pytest.mark.parametrize("kind", ["missing", *STRANGE])
def test_every_field_is_checked(run: Path, trainer: Trainer, kind: str) -> None:
    document, refused = json.loads((run / NEWEST / DOCUMENT).read_text()), 0

    def find_fault() -> str | None:
        try:
            check_resumable(RunFolder.load(run / NEWEST), run / NEWEST, trainer.recipe, trainer.prepared, "fp16")
        except BadInput as error:
            return error.what
        return None

    assert find_fault() is None
    for path, old in list_fields(document):
        changed = json.loads(json.dumps(document))
        if kind == "missing":
            drop_field(path, changed)
        else:
            set_field(path, STRANGE[kind], changed)
        (run / NEWEST / DOCUMENT).write_text(json.dumps(changed))
        if find_fault():
            refused += 1
        else:
            assert may_be(path, old, STRANGE.get(kind)) or read_document(changed) == read_document(document), path
    assert refused > 100
