"""docs/python.md: every example runs as it is written, in a fresh interpreter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tencrop.model.embedded import EMBEDDED

TEXT = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_every_section_with_code_is_found() -> None:
    assert len(EXAMPLES) == TEXT.count("```python\n") >= 4


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "code"), EXAMPLES)
def test_an_example_runs(heading: str, code: str, photographs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photographs["china"].read_bytes())
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "out").symlink_to(EMBEDDED)
    (tmp_path / "photos").mkdir()
    (tmp_path / "data" / "pagoda").mkdir(parents=True)
    (tmp_path / "data" / "pagoda" / "1.jpg").symlink_to(photographs["china"])
    for name, path in photographs.items():
        (tmp_path / "photos" / f"{name}.jpg").symlink_to(path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
