"""README.md and docs/: the ten lines without our code predict like the server, and the client examples work."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving import run_server

from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.training.recipe import load

ROOT = Path(__file__).parents[1]
TRAINING = ["README.md", "docs/train.md", "docs/fine-tune.md"]  # with commands that train, then export
WITHOUT_OURS = "import sys; assert not {'torch', 'tencrop'} & set(sys.modules)"


def find_blocks(name: str, language: str) -> list[str]:
    """The blocks of code in this language of a document."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


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


def test_the_client_examples_get_answers(photographs: dict[str, Path], tmp_path: Path) -> None:
    (block,) = find_blocks("docs/serve.md", "py")
    (tmp_path / "photo.jpg").write_bytes(photographs["china"].read_bytes())
    with run_server() as (_, url):
        lines = block.replace("localhost:8000", url.removeprefix("http://"))
        done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    hub, triton = done.stdout.splitlines()
    assert hub.count("ImageClassificationOutputElement") == 3 and triton == "(1, 101)"


@pytest.mark.parametrize("name", TRAINING)
def test_the_exported_checkpoint_is_the_last_one_of_the_trained_recipe(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    trained = re.findall(r"tencrop train (\w+) --data prepared --out (\S+)(?:.*? epochs=(\d+))?", text)
    exported = re.findall(r"tencrop export (\S+)/checkpoint-(\d+) ", text)
    last = {(run, int(epochs) if epochs else load(recipe).epochs) for recipe, run, epochs in trained}
    assert {(run, int(number)) for run, number in exported} <= last and exported
