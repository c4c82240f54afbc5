"""Small test sets of ImageNet, evaluated with a model of 1,000 classes: what counts as right, and what is told."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.imagenet import ImageNetModel, draw_all, make_objectnet, read_wnids

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.real_labels import IMAGES, RealLabels
from tencrop.evaluation.compare import compare
from tencrop.evaluation.evaluate import evaluate
from tencrop.evaluation.finished_run import open_run
from tencrop.evaluation.plan import plan_evaluation
from tencrop.evaluation.summary import read_summary
from tencrop.evaluation.text_report import text_report
from tencrop.runtime.classifier import Classifier

V2 = "imagenetv2-top-images-format-val"


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> ImageNetModel:
    return ImageNetModel(classifier, read_wnids("imagenet-a"))


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture for each class, for which the model names the class first."""
    return draw_all(tmp_path_factory.mktemp("v2") / V2, {f"{k}/1.png": (k, 0) for k in range(1000)})


def test_folders_of_imagenet_v2_count_the_sorted_wnids(v2: Path, model: ImageNetModel, tmp_path: Path) -> None:
    summary = evaluate(plan_evaluation(open_source(v2), model, limit=9), model, tmp_path / "run")
    assert (summary.n, summary.center.top1_error, summary.ten_crop.top1_error) == (9, 0, 0)
    document = json.loads((tmp_path / "run/summary.json").read_text())["test_set"]
    assert (document["name"], document["among"]) == ("ImageNet-V2 top-images", None)
    assert document["expect"][0] | {"source": ""} == {
        "net": "torchvision's AlexNet",
        "views": "center",
        "top1": 42.1,
        "source": "",
    }
    assert read_summary(tmp_path / "run/summary.json") == summary
    assert "ImageNet-V2 top-images" in (tmp_path / "run/report.html").read_text()


def test_the_order_of_a_models_outputs_does_not_matter(v2: Path, model: ImageNetModel) -> None:
    turned = ImageNetModel.__new__(ImageNetModel)
    turned.contract = replace(model.contract, labels=model.contract.labels[::-1])
    plan = plan_evaluation(open_source(v2), turned, limit=50)
    assert plan.labels == [999 - int(entry.id.split("/")[0]) for entry in plan.entries]


def test_positions_need_a_model_of_imagenet(v2: Path, classifier: Classifier) -> None:
    with pytest.raises(
        BadInput, match="ImageNet-V2 top-images numbers the 1000 wnids of ImageNet, and the model has 0"
    ):
        plan_evaluation(open_source(v2), classifier)


def test_a_prediction_for_a_part_of_the_classes_is_one_of_them(model: ImageNetModel, tmp_path: Path) -> None:
    """The model finds a class outside ImageNet-A more probable than the right one."""
    wnids = read_wnids("imagenet-a")
    index = {wnid: model.wnids.index(wnid) for wnid in wnids}
    outside = next(number for number in range(1000) if number not in index.values())
    root = draw_all(tmp_path / "photos", {f"{wnid}/1.png": (outside, index[wnid]) for wnid in wnids})
    plan = plan_evaluation(open_source(root), model, limit=3)
    summary = evaluate(plan, model, tmp_path / "run")
    assert (summary.center.top1_error, summary.ten_crop.top1_error) == (0, 0)
    assert "ImageNet-A: a prediction is one of its 200 classes" in text_report(summary)
    row = pq.read_table(tmp_path / "run/predictions.parquet").to_pylist()[0]
    rest = 0.1 / 1000  # of each class that a picture does not name
    softmax_over_the_set = (0.3 + rest) / (0.3 + 200 * rest)
    assert row["center_probabilities"][0] == pytest.approx(softmax_over_the_set, rel=1e-5)
    (root / wnids[0]).rename(root / "gone")
    (root / "gone").rename(tmp_path / "gone")
    assert plan_evaluation(open_source(root), model).among == ()


def test_each_class_that_objectnets_mapping_names_is_right(model: ImageNetModel, tmp_path: Path) -> None:
    pictures = {
        "alarm_clock/1.png": (409, 0),
        "alarm_clock/2.png": (530, 0),
        "alarm_clock/3.png": (7, 530),  # a class that is none of ObjectNet's is no answer
        "banana/1.png": (954, 0),
        "banana/2.png": (530, 954),
    }
    root = make_objectnet(tmp_path / "objectnet-1.0", pictures)
    summary = evaluate(plan_evaluation(open_source(root), model), model, tmp_path / "run")
    assert (summary.center.top1_error, summary.center.top5_error) == (1 / 5, 0)
    assert summary.mean_over_classes and summary.mean_over_classes.ten_crop.top1_error == (0 + 1 / 2) / 2
    rows = pq.read_table(tmp_path / "run/predictions.parquet").to_pylist()
    assert [(row["label"], row["also_right"]) for row in rows] == [(409, [530])] * 3 + [(954, [])] * 2
    assert "ObjectNet: a prediction is one of its 3 classes" in text_report(summary)


def make_real(root: Path, model: ImageNetModel, images: Sequence[tuple[int, int, tuple[int, ...]]]) -> RealLabels:
    """Draw images of ILSVRC-2012, given the class of each, the predicted one and the right ones of ImageNet-ReaL."""
    names = (f"{model.wnids[own]}/ILSVRC2012_val_{number:08}.JPEG" for number, (own, _, _) in enumerate(images, 1))
    draw_all(root, {name: (first, 500) for name, (_, first, _) in zip(names, images, strict=True)})
    right = [labels for _, _, labels in images]
    return RealLabels(Path("real.json"), (*right, *([()] * (IMAGES - len(right)))))


def test_real_labels_are_the_right_ones_and_images_without_are_left_out(model: ImageNetModel, tmp_path: Path) -> None:
    images = [(1, 3, (3, 1)), (2, 2, ()), (5, 5, (999,)), (6, 6, (6,)), (7, 8, (9, 8))]
    real = make_real(tmp_path / "val", model, images)
    plan = plan_evaluation(open_source(tmp_path / "val"), model, real_labels=real)
    assert list(zip(plan.labels, plan.also_right, strict=True)) == [(1, (3,)), (999, ()), (6, ()), (9, (8,))]
    summary = evaluate(plan, model, tmp_path / "run")
    assert (summary.n, summary.available, summary.without_label) == (4, 4, 1)
    assert (summary.center.top1_error, summary.center.top5_error) == (1 / 4, 1 / 4)
    assert "1 left out without a right label" in text_report(summary)
    assert read_summary(tmp_path / "run/summary.json") == summary


def test_runs_with_and_without_real_labels_are_not_compared(model: ImageNetModel, tmp_path: Path) -> None:
    real = make_real(tmp_path / "val", model, [(1, 3, (1, 3))])
    for name, labels in (("real", real), ("plain", None)):
        evaluate(plan_evaluation(open_source(tmp_path / "val"), model, real_labels=labels), model, tmp_path / name)
    counted, plain = (open_run(tmp_path / name) for name in ("real", "plain"))
    assert (counted.summary.center.top1_error, plain.summary.center.top1_error) == (0, 1)
    with pytest.raises(BadInput, match="not the same is right, or may be named, in both"):
        compare(counted, plain, 0)
    assert compare(counted, counted, 0)["center"]["top1"]["error_a"] == 0


def test_a_run_with_real_labels_is_another_run(model: ImageNetModel, tmp_path: Path) -> None:
    """Its images and their classes may be the same, and their other right classes differ."""
    for right in ((1, 3), (1, 4)):
        real = make_real(tmp_path / "val", model, [(1, 3, right)])
        plan = plan_evaluation(open_source(tmp_path / "val"), model, real_labels=real)
        assert plan.labels == [1]
        if right == (1, 3):
            evaluate(plan, model, tmp_path / "run")
        else:
            with pytest.raises(BadInput, match="the run there has another list of images"):
                evaluate(plan, model, tmp_path / "run", resume=True)
