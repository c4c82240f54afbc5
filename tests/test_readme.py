"""README.md and docs/: the README is short, and its answers and those of the examples in docs/ are right."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving import run_grpc_server

from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

ROOT = Path(__file__).parents[1]
WORDS, LINES = 900, 150  # at most, in the README
WITHOUT_OURS = "import sys; assert not {'torch', 'tencrop'} & set(sys.modules)"


def find_blocks(name: str, language: str) -> list[str]:
    """The blocks of code in this language of a document."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= WORDS and len(text.splitlines()) <= LINES


def test_the_readmes_curl_gets_the_readmes_answer(classifier: Classifier) -> None:
    (command,) = [block for block in find_blocks("README.md", "sh") if block.startswith("curl ")]
    found = re.fullmatch(r'curl -F image=@(\S+) "localhost:8000(\S+)"\n', command)
    assert found
    (block,) = find_blocks("README.md", "json")
    shown = json.loads(block)
    with TestClient(create_app([classifier], Settings())) as client:
        answer = client.post(found[2], files={"image": (ROOT / found[1]).read_bytes()}).json()
    assert answer.keys() == shown.keys() and len(answer["top"]) == len(shown["top"])
    assert (answer["model"], answer["input"]) == (shown["model"], shown["input"])
    best, shown_best = answer["top"][0], shown["top"][0]
    assert shown_best["id"] == best["id"] == Path(found[1]).stem  # the picture is named after what it shows
    assert shown_best["probability"] == pytest.approx(best["probability"], abs=1e-3)
    assert [shown_best[key] for key in ("index", "id", "label")] == [best[key] for key in ("index", "id", "label")]


def test_every_client_of_the_readmes_table_is_in_the_file_that_it_names() -> None:
    (table,) = re.findall(r"^\| client \|.*?\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    for clients, _, files in (line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]):
        text = "".join((ROOT / name).read_text(encoding="utf-8").lower() for name in re.findall("`(.+?)`", files))
        for client in clients.split(", "):
            assert re.split(r"\W", client.lower())[0] in text, client


def test_the_readmes_python_prints_what_it_says() -> None:
    (block,) = find_blocks("README.md", "python")
    (shown,) = re.findall(r"  # (.+)$", block, re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{shown}\n", "")


@pytest.mark.parametrize("name", ["china", "flower"])
def test_ten_lines_of_onnxruntime_numpy_and_pillow_predict_like_tencrop(
    name: str, photographs: dict[str, Path], tmp_path: Path
) -> None:
    (block,) = find_blocks("docs/export.md", "python")
    assert len([line for line in block.splitlines() if line]) == 10
    (tmp_path / "photo.jpg").write_bytes(photographs[name].read_bytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").symlink_to(EMBEDDED)
    done = subprocess.run(
        [sys.executable, "-c", f"{block}\n{WITHOUT_OURS}"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    classifier = open_classifier(EMBEDDED, EngineOptions("cpu", "openvino", "fp32"))
    pixels, _ = decode(photographs[name].read_bytes(), classifier.file.metadata.contract)
    mean = classifier.forward(pixels[None])[0][0]
    printed = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    best = np.argsort(-mean)[:5]
    assert [label for label, _ in printed] == [classifier.contract.labels[index].name for index in best]
    np.testing.assert_allclose([float(p) for _, p in printed], mean[best], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_client_examples_get_answers(photographs: dict[str, Path], tmp_path: Path) -> None:
    blocks = find_blocks("docs/serve.md", "py")
    assert len(blocks) == 2
    (tmp_path / "photo.jpg").write_bytes(photographs["china"].read_bytes())
    with run_grpc_server() as server:
        lines = "\n".join(blocks)
        for shown, real in (("localhost:8000", server.http), ("localhost:8001", server.grpc)):
            lines = lines.replace(shown, real)
        done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    hub, http, grpc = done.stdout.splitlines()
    assert hub.count("ImageClassificationOutputElement") == 3 and http == grpc == "(1, 101)"
