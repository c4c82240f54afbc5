"""common/extras.py: what serves needs the base alone, and whatever lacks an extra says the line that installs it."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.common import extras
from tencrop.common.errors import WorkFailed
from tencrop.common.extras import MODULES, install_line, require
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

ROOT = Path(__file__).parents[1]
BLOCKED = sorted({name for names in MODULES.values() for name in names})
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}));"
SERVE = """
from pathlib import Path
from fastapi.testclient import TestClient
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.settings import Settings
import tencrop.server.run

with TestClient(create_app([open_classifier(EMBEDDED, EngineOptions())], Settings())) as client:
    answer = client.post("/v1/predict", content=Path(sys.argv[1]).read_bytes()).json()
    print(answer["engine"], len(answer["top"]), client.get("/docs").status_code, client.get("/").status_code)
"""

RUN_EACH = """
from tencrop.cli import main

for command in sys.argv[1:]:
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""
NEEDS = {  # of each command, the extras that it lacks
    "evaluate .": "evaluate",
    "evaluate . --ray --out out": "ray",
    "prepare . out": "evaluate",
    "compare a b": "evaluate",
    "train paper --data x --out y": "train",
    "export": "train,cpu",
    "import x.onnx out": "evaluate,cpu",
    "serve --engine onnxruntime --device cpu --port 0": "cpu",
    "predict x.jpg --engine onnxruntime --device cpu": "cpu",
}


def run_without_extras(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run code in a Python that finds no package of the extras."""
    command = (sys.executable, "-c", BLOCK + code, *map(str, arguments))
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_base_serves(photographs: dict[str, Path]) -> None:
    done = run_without_extras(SERVE, photographs["china"])
    assert done.stdout == "openvino 5 200 200\n", done.stderr


def test_the_base_predicts_without_a_word(photographs: dict[str, Path]) -> None:
    predict = "import tencrop; tencrop.Summary; print(len(tencrop.load().predict(sys.argv[1], top=3).top))"
    done = run_without_extras(predict, photographs["china"])
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_command_without_its_extra_says_how_to_install_it() -> None:
    done = run_without_extras(RUN_EACH, *NEEDS)
    lines = done.stderr.splitlines()
    assert done.stdout.split() == ["1"] * len(NEEDS) and len(lines) == len(NEEDS), done.stderr
    for line, wanted in zip(lines, NEEDS.values(), strict=True):
        assert re.fullmatch(rf"tencrop: not installed: [\w, ]+; pip install (-e '\.|'tencrop)\[{wanted}\]'", line)


def test_the_python_interface_says_it_too() -> None:
    done = run_without_extras("import tencrop\ntry: tencrop.evaluate('.')\nexcept tencrop.TencropError as e: print(e)")
    assert re.fullmatch(r"not installed: [\w, ]+; pip install .*\[evaluate\]'\n", done.stdout), done.stderr


@pytest.fixture
def nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing_is_installed")
def test_a_server_without_the_extra_answers_images_and_says_why_it_does_not_validate(
    classifier: Classifier, photographs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_root=tmp_path, state_dir=tmp_path / "state")
    with TestClient(create_app([classifier], settings)) as client:
        answers = [client.post("/v1/validations", json={"dataset": "."}), client.get("/v1/validations")]
        assert client.post("/v1/predict", content=photographs["china"].read_bytes()).status_code == 200
    why = f"validations are off: not installed: pyarrow, scipy, jinja2, yaml; {install_line(['evaluate'])}"
    for answer in answers:
        assert (answer.status_code, answer.json()) == (501, {"error": {"code": "not_installed", "message": why}})
    assert why in caplog.messages


def test_installed_packages_are_enough() -> None:
    require("evaluate", "train", "ray")


def test_only_extras_that_lack_a_module_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(WorkFailed, match=r"^not installed: onnxruntime; pip install .*\[gpu\]'$"):
        require("train", "gpu")


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install 'tencrop[a,b]'"),  # from an index
        ('{"url": "file:///x.whl", "archive_info": {}}', "pip install 'tencrop[a,b]'"),
        ('{"url": "file:///x", "dir_info": {}}', "pip install 'tencrop[a,b]'"),
        ('{"url": "file:///x", "dir_info": {"editable": true}}', "pip install -e '.[a,b]'"),
    ],
    ids=["index", "wheel", "folder", "editable"],
)
def test_a_checkout_is_installed_from_its_folder(
    origin: str | None, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tencrop-1.dist-info").mkdir()
    (tmp_path / "tencrop-1.dist-info" / "METADATA").write_text("Name: tencrop\nVersion: 1\n")
    if origin is not None:
        (tmp_path / "tencrop-1.dist-info" / "direct_url.json").write_text(origin)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert install_line(["a", "b"]) == line
    assert install_line() == line.replace("[a,b]", "")


def test_without_an_installation_the_code_is_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert install_line(["a"]) == "pip install -e '.[a]'"


def test_the_modules_are_those_of_the_extras_packages() -> None:
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = packages_distributions()

    def find_package(module: str) -> str:
        found = packages[module.partition(".")[0]]
        return next(name for name in found if len(found) == 1 or holds(name, module)).lower()

    def holds(name: str, module: str) -> bool:
        return any(
            file.as_posix().startswith(f"{module.replace('.', '/')}/") for file in distribution(name).files or ()
        )

    for extra, modules in MODULES.items():
        lines = [line for each in offered[extra] for line in (offered["evaluate"] if "[evaluate]" in each else [each])]
        wanted = {re.split(r"[^\w-]", line)[0].removesuffix("-gpu") for line in lines}
        assert {find_package(name).replace("_", "-").removesuffix("-gpu") for name in modules} == wanted
