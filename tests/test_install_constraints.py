"""constraints.txt pins every package of every extra, names no place, and is what every installation uses."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.scripts import load_script

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = dict(line.split("==") for line in CONSTRAINTS.splitlines() if not line.startswith("#"))
PROJECT = tomllib.loads(PYPROJECT)["project"]
REQUIREMENTS = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
    if not line.startswith("tencrop[")
]
lock = load_script("install/lock.py")
floors = load_script("install/floors.py")


def test_a_line_is_a_name_and_a_public_version() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert len(lines) > 100 and list(PINS) == sorted(PINS) and len(PINS) == len(lines)
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==\d+(\.\d+)*(b\d+)?(\.post\d+)?", line)] == []


def test_the_head_says_which_python_wrote_it() -> None:
    assert re.match(r"# .* `make lock` wrote them on Python 3\.\d+\.\d+\.\n# .*\n[a-z]", CONSTRAINTS)


def test_every_requirement_is_pinned_within_its_range() -> None:
    assert len(REQUIREMENTS) > 30
    for each in REQUIREMENTS:
        assert each.specifier.contains(PINS[canonicalize_name(each.name)]), each


def test_both_packages_of_onnxruntime_have_one_version() -> None:
    assert PINS["onnxruntime"] == PINS["onnxruntime-gpu"]


def test_a_report_of_pip_becomes_names_and_public_versions() -> None:
    found = {"tencrop": "0.1", "torch": "2.14.1+cpu", "Jinja2": "3.1.6", "prometheus_client": "0.26.0"}
    items = [{"download_info": {"url": "file:///x"}, "metadata": {"name": n, "version": v}} for n, v in found.items()]
    versions = lock.read_versions({"install": items})
    assert lock.format_versions(versions) == "jinja2==3.1.6\nprometheus-client==0.26.0\ntorch==2.14.1\n"


def test_every_requirement_has_a_floor_and_the_base_is_tested_at_it() -> None:
    low = floors.list_floors(PYPROJECT, CONSTRAINTS)
    base = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["evaluate"]]
    for each in map(Requirement, base):
        assert f">={low[canonicalize_name(each.name)]}" in str(each.specifier).split(",")
    for each in REQUIREMENTS:
        assert any(part.operator == ">=" for part in each.specifier), each
        assert each.specifier.contains(low[canonicalize_name(each.name)])
    assert (low["torch"], "tencrop" in low) == (PINS["torch"], False)


def test_every_installation_uses_the_constraints() -> None:
    for name in ("Makefile", "Dockerfile", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
        for line in re.findall(r"^(?!#).*pip install.*", text, re.MULTILINE):
            assert re.search(r"-c |--constraint|--no-deps", line), line


def test_make_installs_by_one_script_with_the_constraints() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "CONSTRAINTS ?= constraints.txt\n" in text
    assert "INSTALL = $(PYTHON) install/environment.py $(VENV) $(CONSTRAINTS)\n" in text
    assert len(re.findall(r"^\t@\$\(INSTALL\) ", text, re.MULTILINE)) >= 4
