"""docs/paper.md follows the paper's sections, and every file and name in it exists."""

import re
from pathlib import Path

import pytest
from support.code_references import find_problem, find_references

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")

SECTIONS = {
    "1": "Introduction",
    "2": "The Dataset",
    "3": "The Architecture",
    "3.1": "ReLU Nonlinearity",
    "3.2": "Training on Multiple GPUs",
    "3.3": "Local Response Normalization",
    "3.4": "Overlapping Pooling",
    "3.5": "Overall Architecture",
    "4": "Reducing Overfitting",
    "4.1": "Data Augmentation",
    "4.2": "Dropout",
    "5": "Details of learning",
    "6": "Results",
    "6.1": "Qualitative Evaluations",
}
WITH_REFERENCES = [number for number in SECTIONS if number not in ("3", "4")]  # sections 3 and 4 hold only subsections
HEADING = re.compile(r"^#{2,3} (\d(?:\.\d)?) (.+)$", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The text of each section up to the next heading, by its number."""
    parts = re.split(r"^#{1,3} ", text, flags=re.MULTILINE)
    return {match[1]: part for part in parts if (match := re.match(r"(\d(?:\.\d)?) ", part))}


def test_the_sections_are_those_of_the_paper_in_its_order() -> None:
    assert [(number, title) for number, title in HEADING.findall(TEXT) if number in SECTIONS] == list(SECTIONS.items())


def test_the_last_section_lists_sentences_that_cannot_be_meant_literally() -> None:
    assert "cannot be meant literally" in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)[-1]


@pytest.mark.parametrize("number", WITH_REFERENCES)
def test_every_section_refers_to_the_code(number: str) -> None:
    assert find_references(sections(TEXT)[number])


@pytest.mark.parametrize("reference", sorted(set(find_references(TEXT))))
def test_every_reference_exists(reference: str) -> None:
    assert find_problem(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "model/net_config.py:NetConfig",
        "model/net_config.py:NetConfig.conv1",
        "model/net_config.py:LRN.alpha_each",
        "model/metrics.py:TOP",
        "model/layer_table.py:layer_table",
        "dataset/prepared_store.py:INDEX",
        "training/recipes/source145.toml:events",
        "training/recipes/paper.toml:net.lrn.alpha_divided",
    ],
)
def test_every_kind_of_name_is_found(reference: str) -> None:
    assert find_problem(reference) is None


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("model/nothing.py:Net", "no file"),
        ("model/net_config.py:NetConfiguration", "no NetConfiguration"),
        ("model/net_config.py:NetConfig.conv7", "no NetConfig.conv7"),
        ("model/layer_table.py:layer_table.shape", "no layer_table.shape"),
        ("model/net_config.py:conv1", "no conv1"),
        ("model/layer_table.py:Any", "no Any"),
        ("training/recipes/paper.toml:optim.rate", "no optim.rate"),
        ("training/recipes/paper.toml:optim.lr.x", "no optim.lr.x"),
        ("training/recipes/source145.toml:events.after", "no events.after"),
        ("model/net_config.py", "not of the form"),
        ("model/net_config.py:NetConfig.", "not of the form"),
        ("model/net_config.py: NetConfig", "not of the form"),
    ],
)
def test_a_wrong_reference_is_rejected(reference: str, wrong: str) -> None:
    message = find_problem(reference)
    assert message is not None
    assert message.startswith(wrong)
