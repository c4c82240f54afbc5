"""A run folder's newest whole checkpoint is found, and damaged ones are passed over with a warning."""

import shutil
from pathlib import Path

import pytest

from tencrop.commands.verbosity import set_verbosity
from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.model.run_checkpoints import find_checkpoint, list_checkpoints

NAMES = ["checkpoint-0009", "checkpoint-0010", "checkpoint-0010+000020"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three checkpoints, and folders that are none."""
    set_verbosity()
    for name in NAMES:
        shutil.copytree(EMBEDDED / "checkpoint", tmp_path / name)
    for name in ("checkpoint-0011.partial", "checkpoint-0012.aside1", "checkpoint-copy"):
        (tmp_path / name).mkdir()
    return tmp_path


def damage(checkpoint: Path) -> None:
    file = checkpoint / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def test_checkpoints_are_listed_oldest_first(run: Path) -> None:
    assert [path.name for path in list_checkpoints(run)] == NAMES


def test_the_newest_one_is_taken_and_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_checkpoint(run) == run / NAMES[2]
    assert caplog.messages == [f"{run}: the newest whole checkpoint is {NAMES[2]}"]


def test_damaged_ones_are_passed_over_with_a_warning(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(run / NAMES[2])
    damage(run / NAMES[1])
    assert find_checkpoint(run) == run / NAMES[0]
    assert [message.partition(" is passed over: ")[0] for message in caplog.messages[:2]] == [NAMES[2], NAMES[1]]


def test_a_run_without_a_whole_one_is_refused(run: Path) -> None:
    for name in NAMES:
        damage(run / name)
    with pytest.raises(BadInput, match="none of its 3 checkpoints is whole"):
        find_checkpoint(run)


def test_a_checkpoint_stands_for_itself_and_other_folders_are_left(run: Path, tmp_path: Path) -> None:
    assert find_checkpoint(run / NAMES[0]) == run / NAMES[0]
    assert find_checkpoint(tmp_path / "missing") == tmp_path / "missing"


def test_the_checkpoint_of_a_model_is_beside_it() -> None:
    assert find_checkpoint(EMBEDDED) == EMBEDDED / "checkpoint"
