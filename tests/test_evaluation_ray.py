"""`evaluate --ray` writes the bytes of the plain run, on a real Ray with two actors, also when an actor is killed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from archives import tar
from support.crops import assert_same_validation, write_crops
from support.ray_faults import LIVES, make_mortal

from tencrop.common.errors import WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.evaluation import plan as plan_file
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.ray import ACTORS, ATTEMPTS, make_ray_runner
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier
from tencrop.server.settings import read_settings

TESTS = Path(__file__).parent
MODEL = EMBEDDED / "tencrop.onnx"
IMAGES = 18  # in chunks of 4: the last one is not full

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves pipes to its processes open
]


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start Ray with two actors whose processes die as ray_faults.py describes; its file of lives."""
    file = tmp_path_factory.mktemp("mortal") / "lives"
    file.write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ACTORS, "2")
        patch.setattr(plan_file, "CHUNK", 4)
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
            patch.setenv(name, "0")
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=2,
            object_store_memory=200_000_000,
            log_to_driver=False,
            runtime_env={
                "worker_process_setup_hook": "support.ray_faults.make_mortal",
                "env_vars": {LIVES: str(file), "PYTHONPATH": str(TESTS)},
            },
        )
        ray.get(ray.remote(make_mortal).remote(), timeout=60)  # else Ray restarts failing processes for ever
        yield file
        ray.shutdown()


@pytest.fixture(scope="module")
def folder(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of the two photographs under two of the model's classes, one of them broken."""
    return write_crops(tmp_path_factory.mktemp("photos"), photographs, IMAGES)


def keep_folder(folder: Path, root: Path) -> Path:
    return folder


def pack_webdataset(folder: Path, root: Path) -> Path:
    """Pack the folder into two shards, one of them compressed."""
    files = sorted(folder.rglob("*.jpg"))
    for shard, (name, mode) in enumerate({"0.tar": "w", "1.tgz": "w:gz"}.items()):
        samples: dict[str, bytes] = {}
        for number, file in enumerate(files[shard::2]):
            samples |= {
                f"{number:04}.jpg": file.read_bytes(),
                f"{number:04}.cls": b"%d" % (file.parent.name == "sunflower"),
            }
        (root / name).write_bytes(tar(samples, mode=mode))
    (root / "classes.txt").write_text("pagoda\nsunflower\n")
    return root


def pack_parquet(folder: Path, root: Path) -> Path:
    """Pack the folder into one file with row groups of ten images."""
    files = sorted(folder.rglob("*.jpg"))
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    names = '{"info": {"features": {"label": {"names": ["pagoda", "sunflower"]}}}}'
    table = pa.table({"image": images, "label": [int(file.parent.name == "sunflower") for file in files]})
    pq.write_table(table.replace_schema_metadata({"huggingface": names}), root / "0.parquet", row_group_size=10)
    return root


def run(
    data: Path, out: Path, classifier: Classifier, on: bool, resume: bool = False, model: Path = MODEL
) -> list[int]:
    """Evaluate on Ray or in this process; return the numbers that were reported as progress."""
    progress = list[int]()
    work = plan_evaluation(open_source(data), classifier, 1, None)
    evaluate(
        work, classifier, out, resume, progress.append, make_ray_runner(work, classifier, [model], out) if on else None
    )
    return progress


@pytest.mark.parametrize("pack", [keep_folder, pack_webdataset, pack_parquet])
def test_run_on_ray_equals_the_plain_run_in_every_layout(
    pack: Callable[[Path, Path], Path], folder: Path, mortal: Path, classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    data = pack(folder, tmp_path / "data")
    run(data, tmp_path / "plain", classifier, on=False)
    progress = run(data, tmp_path / "ray", classifier, on=True)
    assert_same_validation(tmp_path / "ray", tmp_path / "plain")
    assert progress == sorted(progress) and progress[-1] == IMAGES and len(progress) == 5


def test_a_killed_worker_loses_nothing(folder: Path, mortal: Path, classifier: Classifier, tmp_path: Path) -> None:
    run(folder, tmp_path / "plain", classifier, on=False)
    mortal.write_text("x")
    progress = run(folder, tmp_path / "ray", classifier, on=True)
    assert mortal.read_text() == ""  # one died
    assert progress[-1] == IMAGES
    assert_same_validation(tmp_path / "ray", tmp_path / "plain")


def test_batch_that_kills_every_worker_is_one_line_and_the_run_can_be_resumed(
    folder: Path, mortal: Path, classifier: Classifier, tmp_path: Path
) -> None:
    mortal.write_text("x" * ATTEMPTS)
    with pytest.raises(
        WorkFailed,
        match=r"^a process died 4 times over the images from pagoda/china04\.jpg on; finished images are kept",
    ):
        run(folder, tmp_path / "ray", classifier, on=True)
    assert (tmp_path / "ray/parts/0000000.parquet").exists()
    run(folder, tmp_path / "ray", classifier, on=False, resume=True)  # in this process
    run(folder, tmp_path / "plain", classifier, on=False)
    assert_same_validation(tmp_path / "ray", tmp_path / "plain")


def test_a_model_that_a_worker_cannot_read_is_one_line(
    folder: Path, mortal: Path, classifier: Classifier, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(WorkFailed, match=r"bad\.onnx: .* \(on [^)]+\)$") as raised:
        run(folder, tmp_path / "ray", classifier, on=True, model=bad)
    assert "\n" not in str(raised.value)


def test_a_worker_that_would_compute_differently_is_refused(
    folder: Path, mortal: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(77)))
    with pytest.raises(WorkFailed, match=r"^the number of cores is \d+ here and 77 where the command runs"):
        run(folder, tmp_path / "ray", classifier, on=True)


def command(*arguments: Any, **environment: str) -> tuple[int, str, str]:
    """Run `tencrop evaluate --quiet`; its exit code, stdout and stderr."""
    call = [sys.executable, "-m", "tencrop", "evaluate", "--quiet", *map(str, arguments)]
    done = subprocess.run(
        call, cwd=TESTS.parent, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )
    return done.returncode, done.stdout, done.stderr.removesuffix("\n")


def test_the_command_starts_a_ray_of_its_own_and_prints_nothing_more(folder: Path, tmp_path: Path) -> None:
    plain = command(folder, "--out", tmp_path / "plain", "--limit", 9)
    assert command(folder, "--out", tmp_path / "ray", "--limit", 9, "--ray") == plain
    assert plain[0] == 0 and plain[2] == ""
    assert_same_validation(tmp_path / "ray", tmp_path / "plain")


def test_the_variable_for_actors_is_not_a_server_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ACTORS, "2")
    read_settings()


def test_without_a_shared_folder_it_is_one_line(folder: Path) -> None:
    assert command(folder, "--ray") == (
        2,
        "",
        "tencrop: --ray: needs --out DIR, a folder that every machine of the cluster sees",
    )
