"""A validation that was killed, or ran out of disk, is resumed and then equals an undisturbed one."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.crops import assert_same_validation, write_crops

ROOT = Path(__file__).parent.parent
KILLS = 5
pytestmark = pytest.mark.slow
IMAGES = 48  # in chunks of 4

# `tencrop ARGUMENTS` with small chunks; prints the name of each part file that it has written.
CHILD = """
import resource, sys
import tencrop.evaluation.part_file as part_file
import tencrop.evaluation.plan as plan
from tencrop import cli

plan.CHUNK = 4
write = part_file.write_records

def write_and_print(path, table):
    {misfortune}
    write(path, table)
    print(path.name, flush=True)

part_file.write_records = write_and_print
sys.argv[0] = "tencrop"
cli.main()
"""
DISK_FULL = "path.name == '0000003.parquet' and resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"


@pytest.fixture(scope="module")
def folder(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of the two photographs under two of the model's classes, one of them broken."""
    return write_crops(tmp_path_factory.mktemp("photos"), photographs, IMAGES)


@contextmanager
def start_evaluate(folder: Path, out: Path, *more: str, misfortune: str = "") -> Iterator["subprocess.Popen[str]"]:
    arguments = ["evaluate", str(folder), "--out", str(out), "--precision", "fp32", "--quiet", *more]
    command = [sys.executable, "-c", CHILD.replace("{misfortune}", misfortune or "pass"), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run_evaluate(folder: Path, out: Path, *more: str, misfortune: str = "") -> tuple[int, str]:
    """Run the command to its end; the exit code and stderr."""
    with start_evaluate(folder, out, *more, misfortune=misfortune) as process:
        _, stderr = process.communicate(timeout=120)
        return process.returncode, stderr.removesuffix("\n")


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_evaluate(folder, out) == (0, "")
    return out


def test_a_run_killed_at_five_random_moments_and_resumed_equals_the_undisturbed_run(
    folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out, moments = tmp_path / "run", random.Random(2012)
    for kill in range(KILLS):
        with start_evaluate(folder, out, "--resume") as process:
            assert process.stdout
            for _ in range(kill % 3):
                assert process.stdout.readline()
            time.sleep(moments.uniform(0, 0.1))
            process.kill()
            process.wait()
    assert not (out / "summary.json").exists()  # every kill came before the end
    assert run_evaluate(folder, out, "--resume")[0] == 0
    assert_same_validation(out, undisturbed)


def test_a_full_disk_is_one_line_and_finished_images_are_kept(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    code, stderr = run_evaluate(folder, tmp_path / "run", misfortune=DISK_FULL)
    assert (code, stderr) == (
        1,
        f"tencrop: {tmp_path}/run: cannot be written (File too large); "
        "finished images are kept: make room, then --resume",
    )
    assert sorted(path.name for path in (tmp_path / "run/parts").iterdir()) == [
        f"{number:07}.parquet" for number in range(3)
    ]
    assert run_evaluate(folder, tmp_path / "run", "--resume")[0] == 0
    assert_same_validation(tmp_path / "run", undisturbed)


def test_second_process_at_one_run_is_refused(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    with start_evaluate(folder, tmp_path / "run", misfortune="import time; time.sleep(3)") as first:
        assert first.stdout
        first.stdout.readline()
        code, stderr = run_evaluate(folder, tmp_path / "run", "--resume")
    assert (code, stderr) == (
        2,
        f"tencrop: {tmp_path}/run: another process uses this folder; wait for it, or choose another folder",
    )
