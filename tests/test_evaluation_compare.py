"""Two validations compared: each number against a plain loop, a published figure or a sum; bad folders are one line."""

import json
from fractions import Fraction
from math import comb
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image
from support.command_line import call
from support.random_runs import KINDS, Row, compare_folders, draw_runs, write_run

from tencrop.common.errors import BadInput
from tencrop.evaluation.compare import compare_errors, paired_interval
from tencrop.evaluation.text_comparison import text_comparison


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    a, b = draw_runs(60)
    return write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)


def count_plainly(rows_a: list[Row], rows_b: list[Row], kind: str, k: int) -> tuple[int, int, int, int]:
    """Count image by image: wrong in A, wrong in B, right in A only, right in B only."""
    seen = [0, 0, 0, 0]
    for a, b in zip(rows_a, rows_b, strict=True):
        right_a, right_b = (row["label"] in row[f"{kind}_indices"][:k] for row in (a, b))
        for i, holds in enumerate((not right_a, not right_b, right_a and not right_b, right_b and not right_a)):
            seen[i] += holds
    return seen[0], seen[1], seen[2], seen[3]


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided p of the binomial test at 1/2, in whole numbers: the sum of outcomes no likelier than this one."""
    pairs = only_a + only_b
    return float(
        sum(Fraction(comb(pairs, k), 2**pairs) for k in range(pairs + 1) if comb(pairs, k) <= comb(pairs, only_a))
    )


def test_every_number_equals_a_loop_over_the_images(pair: tuple[Path, Path]) -> None:
    rows_a, rows_b = draw_runs(60)
    found = compare_folders(pair, 1000)
    assert found["n"] == 60 and (found["a"]["undecodable"], found["b"]["undecodable"]) == (6, 5)
    for kind in KINDS:
        for k, name in ((1, "top1"), (5, "top5")):
            wrong_a, wrong_b, only_a, only_b = count_plainly(rows_a, rows_b, kind, k)
            of = found[kind][name]
            assert only_a > 0 and only_b > 0
            assert (of["error_a"], of["error_b"]) == (wrong_a / 60, wrong_b / 60)
            assert (of["right_only_in_a"], of["right_only_in_b"]) == (only_a, only_b)
            assert of["difference"] == pytest.approx((wrong_b - wrong_a) / 60) and of["interval"] == list(
                paired_interval(only_a, only_b, 60)
            )
            assert of["mcnemar_p"] == pytest.approx(mcnemar(only_a, only_b))
        both = [(a, b) for a, b in zip(rows_a, rows_b, strict=True) if a[f"{kind}_indices"] and b[f"{kind}_indices"]]
        moves = [abs(a[f"{kind}_probabilities"][0] - b[f"{kind}_probabilities"][0]) for a, b in both]
        assert found[kind]["largest_move"] == pytest.approx(max(moves)) and found[kind]["median_move"] == pytest.approx(
            median(moves)
        )
        changed = [
            a["id"] for a, b in zip(rows_a, rows_b, strict=True) if a[f"{kind}_indices"][:1] != b[f"{kind}_indices"][:1]
        ]
        assert found[kind]["changed"] == len(changed) > 0
    assert [image["id"] for image in found["images"]] == sorted(changed)  # those of ten views, the last of KINDS


def test_means_over_classes_equal_a_loop_over_the_classes(pair: tuple[Path, Path]) -> None:
    found, runs = compare_folders(pair), dict(zip("ab", draw_runs(60), strict=True))
    labels = {row["label"] for row in runs["a"]}
    for kind in KINDS:
        for k, name in ((1, "top1"), (5, "top5")):
            of = found[kind]["mean_over_classes"][name]
            for run, rows in runs.items():
                wrong = [
                    np.mean([row["label"] not in row[f"{kind}_indices"][:k] for row in rows if row["label"] == label])
                    for label in labels
                ]
                assert of[f"error_{run}"] == pytest.approx(np.mean(wrong), abs=1e-15)
            assert of["difference"] == of["error_b"] - of["error_a"]
    lines = [line for line in text_comparison(found).splitlines() if line.endswith("(mean over classes)")]
    means = found["ten_crop"]["mean_over_classes"]["top5"]
    assert lines[3].split()[:5] == ["ten", "views", "top-5", f"{means['error_a']:.2%}", f"{means['error_b']:.2%}"]


def test_errors_are_those_that_the_runs_report(pair: tuple[Path, Path]) -> None:
    found = compare_folders(pair)
    for run, folder in zip("ab", pair, strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        for kind in KINDS:
            assert {f"{top}_error": found[kind][top][f"error_{run}"] for top in ("top1", "top5")} == summary[kind]


def test_images_are_shown_with_their_true_class_and_both_answers(pair: tuple[Path, Path]) -> None:
    rows = [{row["id"]: row for row in rows} for rows in draw_runs(60)]
    shown = compare_folders(pair, 4)["images"]
    assert len(shown) == 4
    for image in shown:
        assert image["label"] == rows[0][image["id"]]["label"]
        for run, of in zip("ab", rows, strict=True):
            row = of[image["id"]]
            best = (
                None
                if row["undecodable"]
                else {"index": row["ten_crop_indices"][0], "probability": row["ten_crop_probabilities"][0]}
            )
            assert image[run] == best
    assert any(image["a"] is None or image["b"] is None for image in compare_folders(pair, 1000)["images"])


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "low", "high"),
    [  # from the documentation of Bonett's R package statpsych, of ci.prop.ps and ci.pairs.prop1
        (26, 4, 48, 0.2548067, 0.6251933),
        (125, 82, 299, 0.05011508, 0.23559920),
        (125, 92, 299, 0.01407230, 0.20519680),
        (82, 92, 299, -0.11952594, 0.05308076),
    ],
)
def test_the_interval_is_that_of_bonett_and_price(only_a: int, only_b: int, n: int, low: float, high: float) -> None:
    assert paired_interval(only_a, only_b, n) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(("p_a", "p_b"), [(0.01, 0.01), (0.05, 0.02), (0.1, 0.1), (0.2, 0.05), (0.3, 0.3), (0.01, 0.4)])
def test_interval_holds_the_true_difference_in_nineteen_of_twenty_samples(p_a: float, p_b: float) -> None:
    n, holds = 80, 0.0
    for only_a in range(n + 1):  # every outcome for 80 images, with its probability
        for only_b in range(n + 1 - only_a):
            low, high = paired_interval(only_a, only_b, n)
            ways = comb(n, only_a) * comb(n - only_a, only_b)
            holds += (
                (low <= p_a - p_b <= high) * ways * p_a**only_a * p_b**only_b * (1 - p_a - p_b) ** (n - only_a - only_b)
            )
    assert holds > 0.94


def test_interval_of_runs_that_never_disagree_has_a_width() -> None:
    low, high = paired_interval(0, 0, 50_000)
    assert -low == high == pytest.approx(2.77 / 50_000, rel=1e-3)
    right = np.ones(10, np.bool_)
    of = compare_errors(right, right)
    assert of["mcnemar_p"] == 1 and of["difference"] == 0 and of["interval"][0] < 0 < of["interval"][1]


def test_the_interval_holds_the_observed_difference_and_stays_within_one() -> None:
    for n in (1, 2, 7, 30):
        for only_a in range(n + 1):
            for only_b in range(n + 1 - only_a):
                low, high = paired_interval(only_a, only_b, n)
                assert -1 <= low <= (only_a - only_b) / n <= high <= 1
                assert paired_interval(only_b, only_a, n) == (-high, -low)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (5, 0), (1, 7), (10, 10), (3, 11), (150, 100), (0, 2000)])
def test_mcnemars_p_is_a_sum_of_binomial_terms(only_a: int, only_b: int) -> None:
    right_a, right_b = np.zeros(3000, np.bool_), np.zeros(3000, np.bool_)
    right_a[:only_a], right_b[only_a : only_a + only_b] = True, True
    assert compare_errors(right_a, right_b)["mcnemar_p"] == pytest.approx(mcnemar(only_a, only_b), rel=1e-9)


def test_order_of_the_images_changes_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, rows = draw_runs(60)
    turned = write_run(tmp_path / "turned" / "b", rows[::-1])
    as_it_was = compare_folders(pair, 1000)
    found = compare_folders((pair[0], turned), 1000)
    assert found.pop("b") == as_it_was.pop("b") | {"folder": str(turned)}
    assert found == as_it_was


def test_run_equals_itself(pair: tuple[Path, Path]) -> None:
    found = compare_folders((pair[0], pair[0]))
    assert found["images"] == [] and all(found[kind]["changed"] == found[kind]["largest_move"] == 0 for kind in KINDS)


def test_model_of_three_classes_is_compared_too(tmp_path: Path) -> None:
    rows_a, rows_b = draw_runs(30, classes=3)
    found = compare_folders((write_run(tmp_path / "a", rows_a), write_run(tmp_path / "b", rows_b)))
    assert found["ten_crop"]["top5"]["error_a"] == 3 / 30  # the undecodable images alone


def test_images_that_nobody_could_decode_are_wrong_and_move_nothing(tmp_path: Path) -> None:
    none: Row = {f"{kind}_{what}": [] for kind in KINDS for what in ("indices", "probabilities")}
    folder = write_run(tmp_path / "a", [{"id": "x.jpg", "label": 0, "undecodable": True, "no_answer": False, **none}])
    found = compare_folders((folder, folder))
    assert (
        found["center"]["top1"]["error_a"] == 1
        and found["center"]["changed"] == 0
        and found["center"]["median_move"] is None
    )
    assert "nothing to compare" in text_comparison(found)


def test_images_without_an_answer_are_counted_apart(tmp_path: Path) -> None:
    rows, _ = draw_runs(30)
    without = [row | {"undecodable": False, "no_answer": row["undecodable"]} for row in rows]
    found = compare_folders((write_run(tmp_path / "a", rows), write_run(tmp_path / "b", without)))
    assert [(found[run]["undecodable"], found[run]["no_answer"]) for run in "ab"] == [(3, 0), (0, 3)]
    assert found["ten_crop"]["changed"] == 0 and found["ten_crop"]["top1"]["difference"] == 0
    a, b, *_ = text_comparison(found).splitlines()
    assert a.endswith(", 3 undecodable") and b.endswith(", 0 undecodable, 3 without an answer")


def test_first_image_that_only_one_run_has_is_named(tmp_path: Path) -> None:
    rows, _ = draw_runs(12)
    whole, fewer, other = (
        write_run(tmp_path / name, part) for name, part in (("whole", rows), ("fewer", rows[:-1]), ("other", rows[1:]))
    )
    for pair, image, has in (
        ((whole, fewer), "4/11.jpg", whole),
        ((fewer, whole), "4/11.jpg", whole),
        ((whole, other), "0/0.jpg", whole),
        ((fewer, other), "0/0.jpg", fewer),
    ):
        with pytest.raises(BadInput, match=f"^{image}: only {has} has this image"):
            compare_folders(pair)


def test_image_under_the_last_id_that_only_one_run_has_is_named(tmp_path: Path) -> None:
    rows = sorted(draw_runs(12)[0], key=lambda row: str(row["id"]))
    with pytest.raises(BadInput, match=rows[-1]["id"]):
        compare_folders((write_run(tmp_path / "a", rows[:-1]), write_run(tmp_path / "b", rows)))


def test_first_image_of_another_true_class_is_named(tmp_path: Path) -> None:
    rows, _ = draw_runs(12)
    other = [row | {"label": row["label"] + (row["id"] in ("3/3.jpg", "4/4.jpg"))} for row in rows]
    with pytest.raises(BadInput, match=r"^3/3.jpg: class \d in .*a, \d in .*b"):
        compare_folders((write_run(tmp_path / "a", rows), write_run(tmp_path / "b", other)))


@pytest.mark.slow
def test_two_engines_on_photographs_are_compared_by_the_command(
    tmp_path: Path, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, (name, source) in zip(("pagoda", "sunflower"), photographs.items(), strict=True):
        (tmp_path / "photos" / label).mkdir(parents=True)
        with Image.open(source) as image:
            image.save(tmp_path / "photos" / label / f"{name}.png")
    runs = [str(tmp_path / engine) for engine in ("openvino", "onnxruntime")]
    for out, engine in zip(runs, ("openvino", "onnxruntime"), strict=True):
        flags = ("--engine", engine, "--device", "cpu", "--precision", "fp32")
        assert call(monkeypatch, "evaluate", str(tmp_path / "photos"), "--out", out, *flags) == 0
    capsys.readouterr()
    assert call(monkeypatch, "compare", *runs, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 2 and (found["a"]["engine"], found["b"]["engine"]) == ("openvino", "onnxruntime")
    assert found["images"] == [] and found["ten_crop"]["largest_move"] < 1e-4
    assert call(monkeypatch, "compare", *runs) == 0
    printed = capsys.readouterr().out.splitlines()
    assert (
        printed[0] == f"A: {runs[0]}: caltech101 on photos, openvino on cpu, fp32, 0 undecodable" and len(printed) == 20
    )


def test_printed_comparison_lists_the_images_that_changed(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "compare", *map(str, pair), "--show", "3") == 0
    printed = capsys.readouterr().out.splitlines()
    changed = compare_folders(pair)["ten_crop"]["changed"]
    assert printed[13] == f"another label by ten views, 3 of {changed} (classes by their index):" and len(printed) == 17
    assert all(": true " in line and ", A " in line and ", B " in line for line in printed[14:])
