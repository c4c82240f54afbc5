"""bench/gpu.sh: each step runs whatever became of the one before, and the command that it runs exists."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAND_IN = "#!/bin/sh\necho this is python $*\nexit 3\n"


def test_every_step_runs_though_the_one_before_failed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    (tmp_path / "tencrop.whl").touch()
    done = subprocess.run(
        ["bash", str(ROOT / "bench" / "gpu.sh"), str(tmp_path)],
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    titles = re.findall(r"^## (.*)$", done.stdout, re.MULTILINE)
    assert titles[:3] == ["Installation", "Photographs", "The engine alone"] and titles[-1] == "Training's step"
    assert done.stdout.count("exit code 3)") == len(titles)
    modules = set(re.findall(r"^this is python -m ([\w.]+)", done.stdout, re.MULTILINE))
    assert {"pip", "tencrop", "bench.engine", "bench.validation", "bench.serving_limit", "bench.training"} <= modules
    assert all(importlib.util.find_spec(module) for module in modules)
