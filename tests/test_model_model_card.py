"""model/model_card.py: the Hugging Face hub's own client reads the card, which says what the files know and no more."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import ModelCard

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Label
from tencrop.model.embedded import EMBEDDED
from tencrop.model.measured_errors import ErrorRates, ErrorsByViews, MeasuredErrors, read_measured_errors
from tencrop.model.metrics import wilson_interval
from tencrop.model.model_card import make_card, render_card
from tencrop.model.run_progress import EpochRecord, RunProgress
from tencrop.model.tencropfile import TenCropFile

HOSTILE = "<script>x</script> [a](b) `c` | *d* _e_\n# f --- "
ERRORS = MeasuredErrors(
    dataset="photos",
    subset="own",
    n=200,
    available=200,
    precision="bf16",
    center=ErrorRates(0.5, 0.25),
    ten_crop=ErrorRates(0.4, 0.2),
    mean_over_classes=ErrorsByViews(ErrorRates(0.6, 0.35), ErrorRates(0.55, 0.3)),
)


@pytest.fixture(scope="module")
def file() -> TenCropFile:
    return TenCropFile.read(EMBEDDED)


@pytest.fixture(scope="module")
def own(file: TenCropFile) -> TenCropFile:
    """A user's own net."""
    return replace(file, name="mine", metadata=replace(file.metadata, checkpoint_sha256="c3" * 32))


class Card(NamedTuple):
    """A card as the hub's client reads it."""

    data: Any  # a ModelCardData, whose attributes have no types
    text: str  # below the head


def read_card(written: str) -> Card:
    card = ModelCard(written)
    return Card(card.data, card.text)


def read_accuracies(card: Card) -> dict[str, float]:
    return {result.metric_name: result.metric_value for result in card.data.eval_results}


def test_the_hubs_client_reads_the_metrics_of_the_embedded_model(file: TenCropFile) -> None:
    card = read_card(render_card(file, read_measured_errors(file.folder, file.sha256), RunProgress()))
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "tencrop")
    assert (card.data.pipeline_tag, card.data.model_name) == ("image-classification", "caltech101")
    assert card.data.tags == ["image-classification", "onnx", "alexnet"]
    assert {(r.task_type, r.dataset_type, r.metric_type) for r in card.data.eval_results} == {
        ("image-classification", "caltech101", "accuracy")
    }
    assert "Caltech-101" in card.text and "under apache-2.0" in card.text and "caltech101\\_compact" in card.text
    assert f"`{file.sha256}`" in card.text and "101 classes" in card.text and "yin yang." in card.text


def test_metrics_and_table_are_those_of_the_summary(own: TenCropFile) -> None:
    card = read_card(render_card(own, ERRORS, RunProgress()))
    assert read_accuracies(card) == {
        "top-1 accuracy, center crop": 0.5,
        "top-5 accuracy, center crop": 0.75,
        "top-1 accuracy, ten views": 0.6,
        "top-5 accuracy, ten views": 0.8,
        "top-1 accuracy, center crop, mean over classes": 0.4,
        "top-5 accuracy, center crop, mean over classes": 0.65,
        "top-1 accuracy, ten views, mean over classes": 0.45,
        "top-5 accuracy, ten views, mean over classes": 0.7,
    }
    low, high = wilson_interval(0.4, 200)
    assert f"| ten views | 40.00% ({low:.2%} to {high:.2%}) | 20.00% (" in card.text
    assert "| ten views, mean over classes | 55.00% | 30.00% |" in card.text
    assert "on photos (200 images: the data set's own for validation), in bf16." in card.text


def test_an_older_summary_has_no_means(own: TenCropFile) -> None:
    card = read_card(render_card(own, replace(ERRORS, mean_over_classes=None), RunProgress()))
    assert len(read_accuracies(card)) == 4 and ", mean over classes" not in card.text


def test_nothing_is_said_of_what_is_not_known(own: TenCropFile) -> None:
    written = render_card(own, None, RunProgress())
    card = read_card(written)
    assert card.data.license is None and card.data.datasets is None and card.data.eval_results is None
    assert written.startswith("---\n# license: apache-2.0   <- the owner of the weights chooses one\n")
    assert "The owner of the weights has not named one here." in card.text
    assert "No validation of this file is known." in card.text
    assert "Caltech" not in card.text


def test_the_training_is_told_as_the_checkpoint_knows_it(own: TenCropFile) -> None:
    epoch = EpochRecord(1, 0.01, 4.0, 0.9, 100.0, 0.8, 0.6, 9.0)
    session = {"after_epoch": 0, "tencrop": "0.2.0", "commit": None, "torch": "2.9", "device": "AVX2", "changed": {}}
    progress = RunProgress(history=(epoch, replace(epoch, epoch=2)), sessions=(session,))
    text = read_card(render_card(own, None, progress)).text
    assert "| recipe | caltech101\\_compact |" in text and "| images in a step | 64 |" in text
    assert "| epochs so far | 2 |" in text
    assert "| trained after epoch 0 by | tencrop 0.2.0, torch 2.9, device AVX2 |" in text


def test_an_imported_net_tells_its_source_and_what_was_assumed(own: TenCropFile) -> None:
    recipe = {
        "name": "resnet",
        "about": "imported: ONNX",
        "source": "resnet.onnx",
        "notes": ["taken from config.json: the names"],
        "assumed": ["outputs that are logits, going by their sums (--output)"],
    }
    card = read_card(render_card(replace(own, metadata=replace(own.metadata, recipe=recipe)), None, RunProgress()))
    assert card.data.tags == ["image-classification", "onnx"]
    assert "`tencrop import` made it of resnet.onnx." in card.text and "## Training" not in card.text
    assert "- taken from config.json: the names" in card.text
    assert "- assumed: outputs that are logits, going by their sums (--output)" in card.text


@pytest.mark.parametrize("recipe", [{"notes": 5, "assumed": "x"}, {"net": 1, "optim": 2, "name": None}], ids=str)
def test_a_recipe_of_other_types_says_nothing(recipe: dict[str, Any], own: TenCropFile) -> None:
    session = {"after_epoch": "x", "tencrop": ["0"]}
    changed = replace(own, metadata=replace(own.metadata, recipe=recipe))
    text = read_card(render_card(changed, None, RunProgress(sessions=(session,)))).text
    assert "- assumed:" not in text and "| recipe |" not in text and "| images in a step |" not in text


def test_names_of_any_characters_change_neither_head_nor_markdown(own: TenCropFile) -> None:
    labels = (Label("a", HOSTILE), Label("b", "b"))
    contract = replace(own.metadata.contract, labels=labels)
    recipe = {**own.metadata.recipe, "name": HOSTILE, "about": HOSTILE}
    metadata = replace(own.metadata, contract=contract, recipe=recipe)
    card = read_card(
        render_card(replace(own, name=HOSTILE, metadata=metadata), replace(ERRORS, dataset=HOSTILE), RunProgress())
    )
    shown = HOSTILE.replace("\n", "\\n")
    assert card.data.model_name == shown and card.data.eval_results[0].dataset_type == shown
    assert "<script>" not in card.text and not any(line.startswith("# f") for line in card.text.splitlines())
    assert r"\<script\>x\</script\> \[a\](b) \`c\` \| \*d\* \_e\_\\n\# f --- , b." in card.text


def test_the_summary_beside_the_file_is_taken_and_another_may_be_named(file: TenCropFile, tmp_path: Path) -> None:
    beside = make_card(file)
    assert "| ten views | 23.42% (" in beside
    document = json.loads((EMBEDDED / "summary.json").read_text())
    document["ten_crop"]["top1_error"] = 0.125
    (tmp_path / "summary.json").write_text(json.dumps(document))
    assert "| ten views | 12.50% (" in make_card(file, tmp_path / "summary.json") == make_card(file, tmp_path)


def test_a_summary_or_a_checkpoint_of_another_model_is_refused(
    own: TenCropFile, source145: Checkpoint, tmp_path: Path
) -> None:
    other = replace(own, sha256="d4" * 32)
    with pytest.raises(BadInput, match=r"summary\.json: of another model than mine; evaluate this one with --out"):
        make_card(other, EMBEDDED / "summary.json")
    source145.save(tmp_path / "checkpoint")
    with pytest.raises(BadInput, match="checkpoint: mine was made of another checkpoint"):
        make_card(own, None, tmp_path / "checkpoint")


def test_the_checkpoint_tells_its_sessions(file: TenCropFile, embedded: Checkpoint, tmp_path: Path) -> None:
    session = {"after_epoch": 3, "tencrop": "0.2.0", "commit": "abc", "precision": "bf16"}
    replace(embedded, progress={"sessions": [session]}).save(tmp_path / "checkpoint")
    assert "| trained after epoch 3 by | tencrop 0.2.0, commit abc, precision bf16 |" in make_card(
        file, None, tmp_path / "checkpoint"
    )


def test_the_command_prints_the_card_of_the_embedded_model(
    file: TenCropFile, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.argv", ["tencrop", "card"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capfdbinary.readouterr().out.decode() == make_card(file)
