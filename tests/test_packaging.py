"""An installation adds one importable name, tencrop, with all files, and works beside the user's own modules."""

import hashlib
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from email import message_from_bytes
from pathlib import Path

import jedi
import pytest
import sklearn
from support.installation import OFFLINE, PIP, ROOMS, Installation, install, run

from tencrop import __version__
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.runtime.classifier import Classifier

ROOT = Path(__file__).parents[1]
DATA = {  # one file of each pattern in pyproject.toml's package-data
    "tencrop/py.typed",
    "tencrop/evaluation/corruption/report.html.jinja",
    "tencrop/evaluation/report.css",
    "tencrop/evaluation/report.html.jinja",
    "tencrop/evaluation/report.js",
    "tencrop/model/embedded/caltech101/checkpoint/checkpoint.json",
    "tencrop/model/embedded/caltech101/checkpoint/weights.safetensors",
    "tencrop/model/embedded/caltech101/summary.json",
    "tencrop/model/embedded/caltech101/tencrop.onnx",
    "tencrop/server/page/examples/starfish.jpg",
    "tencrop/server/page/index.html",
    "tencrop/training/recipes/paper.toml",
}
TINY = """
base = "caltech101"
epochs = 1
precision = "fp32"
compile = false
net.fc6.units = 8
net.fc7.units = 8
optim.batch = 4
"""


def is_in_context(path: Path, patterns: Iterable[str]) -> bool:
    """Apply .dockerignore to a path below ROOT. The last line that matches the path or a parent folder decides."""
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
        return [name for name in names if not is_in_context(inside / name, patterns)]

    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if copied := re.fullmatch(r"COPY (?!--)(\S+) (\S+)", line):
            origin = ROOT / copied[1]
            assert is_in_context(Path(copied[1]), patterns)
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


def list_room_files() -> set[str]:
    """List the files of tencrop/ and the rooms by their paths in a wheel, without the records of trainings."""
    paths = set()
    for folder, folders, names in os.walk(ROOT / "tencrop", followlinks=True):
        inside = Path(folder).relative_to(ROOT)
        folders[:] = [
            name for name in folders if name != "__pycache__" and (inside / name) != Path("tencrop/training/records")
        ]
        paths |= {(inside / name).as_posix() for name in names}
    return paths


def list_files(wheel: Path) -> set[str]:
    """List the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    installed = {name for name in list_files(wheel) if ".dist-info/" not in name}
    assert installed == list_room_files()
    assert installed >= DATA
    with zipfile.ZipFile(wheel) as archive:
        (top_level,) = (name for name in archive.namelist() if name.endswith("/top_level.txt"))
        assert archive.read(top_level).split() == [b"tencrop"]


@pytest.mark.slow
def test_wheel_says_who_made_it_and_who_may_use_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(path))
        for name in ("LICENSE", "NOTICE"):
            held = archive.read(f"{path.removesuffix('METADATA')}licenses/{name}")
            assert held == (ROOT / name).read_bytes()
    assert (metadata["Version"], metadata["Author"]) == (__version__, "the tencrop developers")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    classifiers = metadata.get_all("Classifier", [])
    assert "Typing :: Typed" in classifiers and "Programming Language :: Python :: 3.11" in classifiers
    assert not [name for name in classifiers if name.startswith("License ::")]  # PyPI refuses them beside an expression


def test_the_licence_is_the_text_of_apache_org() -> None:
    digest = (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # www.apache.org/licenses/LICENSE-2.0.txt
    )
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == digest


def test_the_notice_names_the_makers_of_scikit_learns_photographs() -> None:
    credits = (Path(sklearn.__file__).parent / "datasets" / "images" / "README.txt").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://\S+", credits))
    assert len(addresses) >= 5 and not addresses - set(re.findall(r"https?://[^\s,]+", (ROOT / "NOTICE").read_text()))


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
        "LICENSE",
        "MANIFEST.in",
        "NOTICE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "setup.cfg",
        "tencrop",
        "tencrop.egg-info",
    }
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", tmp_path / "wheel", sdist, cwd=tmp_path)
    (again,) = (tmp_path / "wheel").iterdir()
    assert list_files(again) == list_files(wheel)


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


@pytest.fixture(scope="module", params=["wheel", "editable"])
def arguments(request: pytest.FixtureRequest, source: Path) -> Sequence[str | Path]:
    """The arguments of `pip install`."""
    return ("--editable", source) if request.param == "editable" else (request.getfixturevalue("wheel"),)


@pytest.fixture(scope="module")
def installation(arguments: Sequence[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that several tests share. No test changes it."""
    return install(arguments, tmp_path_factory.mktemp("installation"))


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
def test_uninstalling_leaves_the_package_dataset(arguments: Sequence[str | Path], tmp_path: Path) -> None:
    installation = install(arguments, tmp_path)
    run(*PIP, "--python", installation.python, "uninstall", "--yes", "tencrop", cwd=installation.empty)
    assert installation.find_importable("tencrop", "dataset") == ["dataset"]
    connect = "import dataset; print(dataset.connect())"
    assert run(installation.python, "-c", connect, cwd=installation.empty) == "connected\n"


def test_an_editor_finds_definitions_through_the_links() -> None:
    script = jedi.Script("from tencrop.model.net import AlexNet\n", project=jedi.Project(ROOT))
    (definition,) = script.goto(1, 32, follow_imports=True)
    assert definition.name == "AlexNet" and definition.type == "class"
    assert Path(definition.module_path).is_file() and Path(definition.module_path).samefile(ROOT / "model" / "net.py")
