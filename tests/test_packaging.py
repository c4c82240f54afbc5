"""An installation adds one importable name, tencrop, with all files, and works beside the user's own modules."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tencrop import __version__
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.runtime.classifier import Classifier

ROOT = Path(__file__).parents[1]
ROOMS = sorted(link.name for link in (ROOT / "tencrop").iterdir() if link.is_symlink())
NOT_INSTALLED = ("bench", "experiments", "tests", "cli", "conftest")  # other names that the checkout could give away
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation")
DATA = {  # each of these once went, or could go, missing unnoticed: the Python files alone import
    "tencrop/py.typed",
    "tencrop/evaluation/report.css",
    "tencrop/evaluation/report.js",
    "tencrop/model/embedded/caltech101/checkpoint/checkpoint.json",
    "tencrop/model/embedded/caltech101/checkpoint/weights.safetensors",
    "tencrop/model/embedded/caltech101/tencrop.onnx",
    "tencrop/server/page/index.html",
    "tencrop/training/recipes/paper.toml",
}
NAMES_FOUND = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if find_spec(n)))"
TINY = """
base = "caltech101"
epochs = 1
precision = "fp32"
compile = false
net.fc6.units = 8
net.fc7.units = 8
optim.batch = 4
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this checkout on its path -> its stdout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def allowed_in_context(path: Path, patterns: Iterable[str]) -> bool:
    """Apply .dockerignore to a path below ROOT: the last line that matches the path or a parent folder decides."""
    names = {str(each) for each in (path, *path.parents)} | set(path.parts)
    allowed = True
    for pattern in patterns:
        name = pattern.removeprefix("!").removeprefix("**/")
        assert name == "*" or not re.search(r"[*?\[]", name), f"this test does not know the pattern {pattern}"
        if name == "*" or name in names:
            allowed = pattern.startswith("!")
    return allowed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the Dockerfile installs: its COPY lines applied to what .dockerignore lets through."""
    folder = tmp_path_factory.mktemp("source")
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()

    def unwanted(parent: str, names: list[str]) -> list[str]:
        inside = Path(parent).relative_to(ROOT)
        return [name for name in names if not allowed_in_context(inside / name, patterns)]

    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if copied := re.fullmatch(r"COPY (?!--)(\S+) (\S+)", line):
            origin = ROOT / copied[1]
            assert allowed_in_context(Path(copied[1]), patterns)
            if origin.is_dir():
                shutil.copytree(origin, folder / copied[2], symlinks=True, ignore=unwanted)
            else:
                shutil.copy(origin, folder / copied[2])
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of that folder."""
    out = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", out, source, cwd=out)
    (path,) = out.iterdir()
    return path


def files_of_the_rooms() -> set[str]:
    """Every file of tencrop/ and the rooms, by its path in a wheel; records of trainings stay in the repository."""
    paths = set()
    for folder, folders, names in os.walk(ROOT / "tencrop", followlinks=True):
        inside = Path(folder).relative_to(ROOT)
        folders[:] = [
            name for name in folders if name != "__pycache__" and (inside / name) != Path("tencrop/training/records")
        ]
        paths |= {(inside / name).as_posix() for name in names}
    return paths


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    installed = {name for name in names_in(wheel) if ".dist-info/" not in name}
    assert installed == files_of_the_rooms()
    assert installed >= DATA
    with zipfile.ZipFile(wheel) as archive:
        (top_level,) = (name for name in archive.namelist() if name.endswith("/top_level.txt"))
        assert archive.read(top_level).split() == [b"tencrop"]


@pytest.mark.slow
def test_sdist_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    leave = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "out", "runs", "*.egg-info")
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=leave)
    build = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path / "sdist", cwd=checkout)
    (sdist,) = (tmp_path / "sdist").iterdir()
    with tarfile.open(sdist) as archive:
        folders = {member.name.split("/")[1] for member in archive if member.name.count("/")}
        assert all(member.isfile() or member.isdir() for member in archive)  # no link, which some systems cannot unpack
    assert folders == {
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "setup.cfg",
        "tencrop",
        "tencrop.egg-info",
    }
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", tmp_path / "wheel", sdist, cwd=tmp_path)
    (again,) = (tmp_path / "wheel").iterdir()
    assert names_in(again) == names_in(wheel)


def write_dataset_wheel(folder: Path) -> Path:
    """A wheel that installs the package `dataset`, as PyPI's wheel of this name does."""
    path = folder / "dataset-1.6.2-py3-none-any.whl"
    files = {
        "dataset/__init__.py": "def connect() -> str:\n    return 'connected'\n",
        "dataset-1.6.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: dataset\nVersion: 1.6.2\n",
        "dataset-1.6.2.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["dataset-1.6.2.dist-info/RECORD"] = "".join(
        f"{name},,\n" for name in (*files, "dataset-1.6.2.dist-info/RECORD")
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@dataclass(frozen=True)
class Installation:
    """A virtual environment with `dataset` and tencrop, above the packages of the environment that runs the tests."""

    python: Path
    added: frozenset[str]  # names that became importable with tencrop
    user: Path  # a folder with modules that are named like rooms and raise when they are imported

    def run(self, *arguments: str | Path) -> str:
        return run(self.python, *arguments, cwd=self.user)


def install(what: Sequence[str | Path], root: Path) -> Installation:
    """Make an environment in `root` and install `what`, which are pip's arguments, after `dataset`."""
    empty, user = root / "empty", root / "user"
    empty.mkdir()
    user.mkdir()
    for name in ROOMS:
        (user / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py')\n")
    venv.create(root / "venv", symlinks=True)
    python = root / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=empty).strip())
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")  # Python does not read .pth files there
    names = ("tencrop", *ROOMS, *NOT_INSTALLED)
    pip = (*PIP, "--python", python, "install", *OFFLINE)
    run(*pip, write_dataset_wheel(root), cwd=empty)
    before = run(python, "-c", NAMES_FOUND, *names, cwd=empty).split()
    run(*pip, *what, cwd=empty)
    after = run(python, "-c", NAMES_FOUND, *names, cwd=empty).split()
    assert "dataset" in before and "tencrop" not in before
    return Installation(python, frozenset(after) - frozenset(before), user)


@pytest.fixture(scope="module", params=["wheel", "editable"])
def what(request: pytest.FixtureRequest, source: Path) -> Sequence[str | Path]:
    """The arguments of `pip install`."""
    return ("--editable", source) if request.param == "editable" else (request.getfixturevalue("wheel"),)


@pytest.fixture(scope="module")
def installation(what: Sequence[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that several tests share: none changes it."""
    return install(what, tmp_path_factory.mktemp("installation"))


@pytest.mark.slow
def test_tencrop_is_the_only_name_that_an_installation_adds(installation: Installation) -> None:
    assert installation.added == {"tencrop"}
    listed = (
        "from importlib.metadata import files; print(*{f.parts[0] for f in files('tencrop') if f.parts[0] != '..'})"
    )
    top = {name for name in installation.run("-c", listed).split() if not name.startswith("__editable__")}
    assert top - {"tencrop", "__pycache__"} == {f"tencrop-{__version__}.dist-info"}


@pytest.mark.slow
def test_command_line_works_beside_the_users_own_modules(
    installation: Installation, photographs: dict[str, Path]
) -> None:
    shutil.copy(photographs["flower"], installation.user / "photo.jpg")
    printed = installation.run("-m", "tencrop", "predict", "photo.jpg")
    assert printed.startswith("photo.jpg\n") and printed.count("%") == 5


@pytest.mark.slow
def test_evaluation_writes_its_report_beside_the_users_own_modules(
    installation: Installation, photographs: dict[str, Path]
) -> None:
    (installation.user / "photos" / "sunflower").mkdir(parents=True)
    shutil.copy(photographs["flower"], installation.user / "photos" / "sunflower")
    installation.run("-m", "tencrop", "evaluate", "photos", "--out", "evaluated")
    assert "<style>" in (installation.user / "evaluated" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_torchrun_trains_beside_the_users_own_modules(installation: Installation, tiny_prepared: PreparedStore) -> None:
    (installation.user / "tiny.toml").write_text(TINY)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tencrop")
    training = ("train", "tiny.toml", "--data", tiny_prepared.root, "--out", "trained", "--workers", "0")
    installation.run(*torchrun, *training)
    assert (installation.user / "trained" / "checkpoint-0001" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_python_interface_works_beside_the_users_own_modules(
    installation: Installation, photographs: dict[str, Path], classifier: Classifier
) -> None:
    predict = "import sys, tencrop; print(tencrop.load(precision='fp32').predict(sys.argv[1]).label)"
    label = classifier.predict(photographs["china"]).label
    assert installation.run("-c", predict, photographs["china"]) == f"{label}\n"
    modules = " ".join(f"import tencrop.{room};" for room in ROOMS)
    assert not set(installation.run("-c", f"{modules} import sys; print(*sys.modules)").split()) & set(ROOMS)


@pytest.mark.slow
def test_uninstalling_leaves_the_package_dataset(what: Sequence[str | Path], tmp_path: Path) -> None:
    installation = install(what, tmp_path)
    empty = tmp_path / "empty"
    run(*PIP, "--python", installation.python, "uninstall", "--yes", "tencrop", cwd=empty)
    assert run(installation.python, "-c", NAMES_FOUND, "tencrop", "dataset", cwd=empty).split() == ["dataset"]
    assert run(installation.python, "-c", "import dataset; print(dataset.connect())", cwd=empty) == "connected\n"


def test_an_editor_finds_definitions_through_the_links() -> None:
    jedi = pytest.importorskip("jedi")
    script = jedi.Script("from tencrop.model.net import AlexNet\n", project=jedi.Project(ROOT))
    (definition,) = script.goto(1, 32, follow_imports=True)
    assert definition.name == "AlexNet" and definition.type == "class"
    assert Path(definition.module_path).is_file() and Path(definition.module_path).samefile(ROOT / "model" / "net.py")
