"""`tencrop evaluate --corrupt`: which conditions, their errors, the mCE, resumption and the command."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import stripes
from PIL import Image
from support.command_line import call

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.evaluation import plan as plan_file
from tencrop.evaluation.corruption.alexnet import ALEXNET
from tencrop.evaluation.corruption.conditions import Condition, choose_conditions
from tencrop.evaluation.corruption.run import FOLDER, RECORDS_FILE, RESULT_FILE, evaluate_corruptions
from tencrop.evaluation.corruption.summary import ConditionErrors, CorruptionSummary, has_imagenet_classes
from tencrop.evaluation.corruption.text_report import text_corruptions
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.plan import Plan, plan_evaluation
from tencrop.evaluation.summary import EvaluatedModel, Summary
from tencrop.images import shared_array
from tencrop.images.corruptions.table import CORRUPTIONS, FROST, MADE_FROST, SEVERITIES, corrupt
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import CENTER_VIEW, Contract, Label
from tencrop.model.measured_errors import VIEWS, ErrorRates
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions

TINY = Path(__file__).parent / "fixtures" / "0.1" / "tiny"  # its square has 40 pixels
SOME = "contrast,impulse_noise"


@pytest.fixture(scope="module")
def tiny() -> Classifier:
    return open_classifier(TINY, EngineOptions("cpu", "onnxruntime", "fp32"))


@pytest.fixture
def plan(tiny: Classifier, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """31 images, one of them broken, in chunks of 8."""
    monkeypatch.setattr(plan_file, "CHUNK", 8)
    return plan_evaluation(open_source(tiny_folder), tiny)


def make_summary(error: float, n: int = 1000) -> Summary:
    rates = ErrorRates(error, error / 2)
    model = EvaluatedModel("net", "0" * 64)
    return Summary(n, 0, 0, rates, rates, "openvino", "cpu", "fp32", model, "1" * 64, "photos", "all", n)


def make_result(
    error_of: Callable[[str], float], conditions: tuple[Condition, ...], is_imagenet: bool = True
) -> CorruptionSummary:
    """A result whose error depends on the corruption alone; by ten views it is half of that."""
    errors = [
        ConditionErrors(each, ErrorRates(error_of(each.corruption), 0), ErrorRates(error_of(each.corruption) / 2, 0))
        for each in conditions
    ]
    return CorruptionSummary(make_summary(0.25), tuple(errors), 256, is_imagenet)


def test_names_choose_conditions_in_the_order_of_the_table() -> None:
    some = choose_conditions("snow,shot_noise")
    assert some == tuple(Condition(name, severity) for name in ("shot_noise", "snow") for severity in SEVERITIES)
    assert choose_conditions("fog", 3) == (Condition("fog", 3),)
    assert [each.corruption for each in choose_conditions("all", 1)] == [name for name in CORRUPTIONS if name != FROST]
    with_photographs = [each.corruption for each in choose_conditions("all", 1, Path("frost"))]
    assert with_photographs == [name for name in CORRUPTIONS if name != MADE_FROST] and len(with_photographs) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--corrupt", "fogg"), "no corruption 'fogg'; did you mean fog?"),
        (("--corrupt", "all,fog"), "no corruption 'all'"),
        (("--corrupt", "fog", "--frost", "there"), "--frost: applies to the corruption frost"),
        (("--severity", "3"), "--severity: applies to --corrupt alone"),
        (("--frost", "there"), "--frost: applies to --corrupt alone"),
        (("--corrupt", "fog", "--ray", "--out", "there"), "--corrupt: does not run with --ray"),
        (("--corrupt", "frost", "--frost", "there"), "there/frost1.png: cannot be read (No such file or directory)"),
    ],
    ids=("unknown", "all with a name", "frost not named", "severity alone", "frost alone", "ray", "no photographs"),
)
def test_an_option_without_a_use_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "evaluate", str(tiny_folder), "--model", str(TINY), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_alexnet_itself_has_an_mce_of_1() -> None:
    conditions = choose_conditions("all", frost=Path("frost"))
    alexnet = make_result(ALEXNET.__getitem__, conditions)
    assert alexnet.mce("center") == pytest.approx(1, abs=1e-15)
    assert alexnet.mce("ten_crop") == pytest.approx(0.5, abs=1e-15)
    assert "all 15 corruptions" in alexnet.explain_mce()
    half = make_result(lambda name: ALEXNET[name] / (2 if name == "snow" else 1), conditions)
    assert half.mce("center") == pytest.approx(1 - 0.5 / 15)
    assert half.mean_error("fog", "center") == pytest.approx(0.819324)
    assert half.mean_increase("fog", "center") == pytest.approx(0.819324 - 0.25)


def test_made_frost_is_in_no_mean() -> None:
    result = make_result(lambda name: 0.0 if name == MADE_FROST else ALEXNET[name], choose_conditions("all"))
    assert result.corruptions.count(MADE_FROST) == 1 and FROST not in result.corruptions
    assert result.mce("center") == pytest.approx(1) and "14 corruptions" in result.explain_mce()
    others = [error for name, error in ALEXNET.items() if name != "frost"]
    assert result.mean_of_means("center") == pytest.approx(np.mean(others))
    assert "frost* has a texture made here" in text_corruptions(result)


@pytest.mark.parametrize(
    ("names", "severity", "is_imagenet", "why"),
    [
        ("all", None, False, "not defined here"),
        ("all", 3, True, "takes --corrupt all at every severity"),
        ("fog,snow", None, True, "takes --corrupt all at every severity"),
    ],
)
def test_no_mce_says_why(names: str, severity: int | None, is_imagenet: bool, why: str) -> None:
    result = make_result(lambda name: 0.5, choose_conditions(names, severity), is_imagenet)
    document = json.loads(json.dumps(result.to_json()))
    assert document["mce"] == {"center": None, "ten_crop": None} and why in document["mce_note"]
    assert document["mean"]["center"] == {"mean_error": 0.5, "mean_increase": 0.25}
    assert "mCE" not in text_corruptions(result).split("\n")[-2] and why in text_corruptions(result)


def test_only_all_of_imagenets_classes_are_imagenet() -> None:
    wnids = tuple(Label(f"n{number:08}", f"class {number}") for number in range(1000))
    assert has_imagenet_classes(Contract(labels=wnids), range(1000))
    assert not has_imagenet_classes(Contract(labels=wnids), range(999))
    assert not has_imagenet_classes(Contract(labels=wnids[:999]), range(999))
    assert not has_imagenet_classes(Contract(labels=(*wnids[1:], Label("tench", "tench"))), range(1000))


def test_errors_are_those_of_corrupted_squares(plan: Plan, tiny: Classifier, tmp_path: Path) -> None:
    conditions = choose_conditions(SOME, 3)
    clean = evaluate(plan, tiny, tmp_path / "run")
    result = evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "run")
    assert (result.square, len(result.errors)) == (40, 2)
    for errors in result.errors:
        wrong = dict.fromkeys(VIEWS, 0)
        for entry, label in zip(plan.entries, plan.labels, strict=True):
            try:
                square, _ = decode(plan.data.read(entry), tiny.contract)
            except ImageError:
                wrong = {kind: count + 1 for kind, count in wrong.items()}
                continue
            mean, views = tiny.forward(corrupt(square, *errors.condition, entry.id)[None])
            wrong["center"] += views[0, CENTER_VIEW].argmax() != label
            wrong["ten_crop"] += mean[0].argmax() != label
        assert {kind: getattr(errors, kind).top1_error * 31 for kind in VIEWS} == pytest.approx(wrong)
    rows = pq.read_table(tmp_path / "run" / FOLDER / RECORDS_FILE).to_pylist()
    assert len(rows) == 31 * 2 and sum(not row["ten_crop_indices"] for row in rows) == 2
    document = json.loads((tmp_path / "run" / FOLDER / RESULT_FILE).read_text())
    assert document == json.loads(json.dumps(result.to_json())) and len(document["conditions"]) == 2
    page = (tmp_path / "run" / FOLDER / "report.html").read_text()
    assert page.count("<svg") == 2 and "The mCE is not defined here" in page and "://" not in page


def test_an_image_may_have_several_right_labels(plan: Plan, tiny: Classifier) -> None:
    """Where every class is right, only the broken image is wrong."""
    several = replace(plan, also_right=[tuple({0, 1, 2} - {label}) for label in plan.labels])
    result = evaluate_corruptions(several, tiny, make_summary(0, 31), choose_conditions("contrast", 5))
    assert [each.center.top1_error for each in result.errors] == [1 / 31]


def test_a_stopped_run_is_resumed_and_decodes_each_image_once(
    plan: Plan, tiny: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions, clean = choose_conditions(SOME), make_summary(0.5, 31)
    decoded, done = list[bytes](), list[int]()

    def count(encoded: bytes, contract: Contract) -> object:
        decoded.append(encoded)
        return decode(encoded, contract)

    monkeypatch.setattr(shared_array, "decode", count)
    whole = evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "whole", progress=done.append)
    assert len(decoded) == 31 and done[0] == 8 and done[-1] == 310

    def stop(done: int) -> None:
        if done >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "stopped", progress=stop)
    with pytest.raises(BadInput, match="--resume"):
        evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "stopped")
    with pytest.raises(BadInput, match="another list of corruptions"):
        evaluate_corruptions(plan, tiny, clean, conditions[1:], out=tmp_path / "stopped", resume=True)
    done.clear()
    resumed = evaluate_corruptions(
        plan, tiny, clean, conditions, out=tmp_path / "stopped", resume=True, progress=done.append
    )
    assert resumed == whole and done[0] == 168  # two chunks were kept
    for name in (RECORDS_FILE, RESULT_FILE, "report.html"):
        files = [tmp_path / run / FOLDER / name for run in ("whole", "stopped")]
        assert files[0].read_bytes() == files[1].read_bytes()
    decoded.clear()
    assert evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "whole", resume=True) == whole
    assert not decoded
    (tmp_path / "whole" / FOLDER / RECORDS_FILE).write_bytes(b"PAR1 no more")
    with pytest.raises(BadInput, match=r"predictions.parquet: missing or damaged"):
        evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / "whole", resume=True)


@pytest.mark.slow
def test_processes_write_what_threads_write(plan: Plan, tiny: Classifier, tmp_path: Path) -> None:
    conditions, clean = choose_conditions("all", 5), make_summary(0.5, 31)
    for workers in (0, 2):
        evaluate_corruptions(plan, tiny, clean, conditions, out=tmp_path / str(workers), workers=workers)
    records = [(tmp_path / workers / FOLDER / RECORDS_FILE).read_bytes() for workers in ("0", "2")]
    assert records[0] == records[1]


@pytest.mark.slow
def test_the_command_evaluates_200_images_under_75_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(("ant", "bee_hive", "cat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(label, 200, 3):
            Image.fromarray(stripes(label, number)).save(tmp_path / "photos" / name / f"{number}.png")
    arguments = ("evaluate", str(tmp_path / "photos"), "--model", str(TINY), "--corrupt", "all", "--json")
    assert call(monkeypatch, *arguments, "--out", str(tmp_path / "run")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["n"] == printed["corruptions"]["n"] == 200
    assert len(printed["corruptions"]["conditions"]) == 75 and len(printed["corruptions"]["corruptions"]) == 15
    assert printed["corruptions"] == json.loads((tmp_path / "run" / FOLDER / RESULT_FILE).read_text())
    rows = pq.read_table(tmp_path / "run" / FOLDER / RECORDS_FILE)
    assert rows.num_rows == 200 * 75 and all(rows["ten_crop_indices"].to_pylist())
