"""report.html: its figures equal a plain count; it is one small file, takes flat memory, and escapes every text."""

import base64
import io
import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from support.synthetic_validation import make_hostile, make_validation

from tencrop.evaluation.intervals import ErrorIntervals, IntervalsByViews, RateIntervals
from tencrop.evaluation.record_queries import Predictions
from tencrop.evaluation.report import LISTED, MISTAKES, PANEL, SUSPECTS
from tencrop.evaluation.summary import EvaluatedModel
from tencrop.model.contract import Label
from tencrop.model.measured_errors import ErrorRates, ErrorsByViews, Subset
from tencrop.model.published_errors import PublishedError


@pytest.fixture
def photograph(photographs: dict[str, Path]) -> bytes:
    return photographs["flower"].read_bytes()


def read_table(page: str, kind: str) -> list[list[str]]:
    """The text of a table's body, row by row."""
    table = re.findall(rf'<table class="{kind}">.*?<tbody>(.*?)</tbody>', page, re.S)[0]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table, re.S)
    return [
        [unescape(re.sub(r"<.*?>", " ", cell)).strip() for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.S)]
        for row in rows
    ]


def test_class_table_equals_a_plain_count_with_the_worst_first(photograph: bytes) -> None:
    given = make_validation(photograph, 400, 9, undecodable=(3, 77, 399))
    images, first, five = Counter[int](), Counter[int](), Counter[int]()
    for row in given.rows():
        images[row["label"]] += 1
        first[row["label"]] += row["ten_crop_indices"][:1] != [row["label"]]
        five[row["label"]] += row["label"] not in row["ten_crop_indices"]
    order = sorted(images, key=lambda c: (-first[c] / images[c], -five[c] / images[c], c))
    names = given.data.labels
    expected = [
        [names[c].id, names[c].name, str(images[c]), f"{first[c] / images[c]:.1%}", f"{five[c] / images[c]:.1%}"]
        for c in order
    ]
    assert read_table(given.page(), "sortable") == expected and len(expected) == 8 and expected[0][3] == "100.0%"


def test_confusions_and_surest_mistakes_equal_a_plain_count(photograph: bytes) -> None:
    given = make_validation(photograph, 400, 9, undecodable=(3, 77, 399))
    rows = given.rows()
    wrong = [i for i, row in enumerate(rows) if not row["undecodable"] and row["ten_crop_indices"][0] != row["label"]]
    pairs = Counter((rows[i]["label"], rows[i]["ten_crop_indices"][0]) for i in wrong)
    predictions = Predictions.from_table(given.table)
    assert (
        predictions.rank_confusions(15)
        == [(*pair, n) for pair, n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))][:15]
    )
    assert (
        predictions.find_surest_mistakes(12) == sorted(wrong, key=lambda i: -rows[i]["ten_crop_probabilities"][0])[:12]
    )
    assert read_table(given.page(), "confusions")[0][2] == str(max(pairs.values()))


def test_headline_has_wilsons_intervals_means_over_classes_and_2012_below_each_kind(photograph: bytes) -> None:
    given = make_validation(photograph, 100, 9)
    means = ErrorsByViews(ErrorRates(0.25, 0.125), ErrorRates(0.225, 0.1))
    published = (
        PublishedError("ILSVRC-2012 validation", "ten_crop", 40.66, 18.21),
        PublishedError("ILSVRC-2010 test", "center", 39.0, 18.3),
    )
    ends = RateIntervals((0.2, 0.3), (0.05, 0.2))
    intervals = ErrorIntervals(*(IntervalsByViews(ends, ends) for _ in range(2)))
    summary = replace(given.summary, published=published, mean_over_classes=means, intervals=intervals)
    given = replace(given, summary=summary)
    center, mean_center, then_center, _, mean_ten, then_ten = read_table(given.page(), "errors")
    assert center[:2] == ["center crop", "10.00%  5.52% to 17.44%"]  # Wilson 1927
    assert mean_center == ["center crop, mean over classes", "25.00%  20.00% to 30.00%", "12.50%  5.00% to 20.00%"]
    assert mean_ten == ["ten views, mean over classes", "22.50%  20.00% to 30.00%", "10.00%  5.00% to 20.00%"]
    assert then_center == ["2012, center crop, ILSVRC-2010 test", "39.00%", "18.30%"]
    assert then_ten == ["2012, ten views, ILSVRC-2012 validation", "40.66%", "18.21%"]


def test_perfect_and_hopeless_runs_have_intervals_within_0_and_100(photograph: bytes) -> None:
    given = make_validation(photograph, 3, 9)
    given = replace(given, summary=replace(given.summary, center=ErrorRates(1.0, 0.0)))
    assert re.search(r"43.85% to 100.00%.*?0.00% to 56.15%", given.page().replace("\n", " "))


def test_page_says_what_was_run(photograph: bytes) -> None:
    given = make_validation(photograph, 1000, 9, undecodable=(5,))
    text = unescape(re.sub(r"<.*?>", " ", given.page()))
    for fact in (
        "a1" * 32,
        "b2" * 32,
        "openvino on cpu, bf16",
        "photos",
        "1,000, of them 1 undecodable",
        "4,000.0",
        "0.2 on 2 cores",
    ):
        assert fact in text
    assert f"{datetime(2012, 11, 15, tzinfo=UTC):%Y-%m-%d %H:%M} UTC" in text
    given = replace(given, timing=replace(given.timing, images=600))
    assert "4,000.0 for 600 images; the others were kept from an earlier go" in given.page()


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ("own", "the data set's own for validation"),
        ("all", "all of the data set"),
        (0.15, "a share of 0.15 of each class, held out"),
    ],
)
def test_page_says_which_images_were_used(subset: Subset, says: str, photograph: bytes) -> None:
    given = make_validation(photograph, 20, 9)
    given = replace(given, summary=replace(given.summary, subset=subset))
    assert f"<dt>which images</dt><dd>{says}</dd>" in given.page()
    given = replace(given, summary=replace(given.summary, available=50_000))
    assert f"<dt>which images</dt><dd>20, evenly spread, of 50,000: {says}</dd>" in given.page()


def test_page_names_every_net_of_an_ensemble(photograph: bytes) -> None:
    given = make_validation(photograph, 20, 9)
    members = (EvaluatedModel("one", "c3" * 32), EvaluatedModel("<two>", "d4" * 32))
    model = replace(given.summary.model, members=members)
    page = replace(given, summary=replace(given.summary, model=model)).page()
    assert f"one <code>{'c3' * 32}" in page and f"&lt;two&gt; <code>{'d4' * 32}" in page


def test_shown_images_are_in_the_file_and_hold_five_bars_each(photograph: bytes) -> None:
    page = make_validation(photograph, 300, 9).page()
    sources = re.findall(r'<img [^>]*src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(sources) == page.count("<img") == page.count("<figure>") == PANEL + MISTAKES + SUSPECTS
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source))) as image:
            assert image.size == (224, 224)
    for figure in re.findall(r"<figure>.*?</figure>", page):
        assert figure.count("<li") == 5
    assert "://" not in page


def test_a_net_of_three_classes_has_three_bars(photograph: bytes) -> None:
    page = make_validation(photograph, 30, 3, k=3).page()
    assert {figure.count("<li") for figure in re.findall(r"<figure>.*?</figure>", page)} == {3}


def test_a_deleted_image_leaves_its_bars(photograph: bytes) -> None:
    given = make_validation(photograph, 4, 9)
    data = replace(given.data, gone=frozenset(entry.id for entry in given.data.entries[::2]))
    page = replace(given, data=data).page()
    panel = page.partition('id="mistakes"')[0]
    assert panel.count("image is gone") == panel.count("<img") == 2
    assert {figure.count("<li") for figure in re.findall(r"<figure>.*?</figure>", page)} == {5}


def test_undecodable_images_are_listed_up_to_a_cap(photograph: bytes) -> None:
    few = make_validation(photograph, 300, 9, undecodable=range(3)).page()
    assert few.partition('<section id="undecodable">')[2].count("<li>") == 3 and "more; predictions" not in few
    assert few.count("</code>: damaged image: it cannot be decoded</li>") == 3
    many = (
        make_validation(photograph, 1500, 9, undecodable=range(1200)).page().partition('<section id="undecodable">')[2]
    )
    assert many.count("<li>") == LISTED and f"and {1200 - LISTED:,} more" in many
    assert 'id="undecodable"' not in make_validation(photograph, 300, 9).page()


def test_images_without_an_answer_are_told_apart_from_undecodable_ones(photograph: bytes) -> None:
    page = make_validation(photograph, 300, 9, undecodable=range(3), no_answer=range(10, 14)).page()
    text = unescape(re.sub(r"<.*?>", " ", page))
    assert "300, of them 3 undecodable, 4 without an answer" in text
    assert "Undecodable images (3) count as wrong. Images without an answer (4) count as wrong." in text
    undecodable, _, no_answer = page.partition('<section id="undecodable">')[2].partition('<section id="no-answer">')
    assert (undecodable.count("<li>"), no_answer.count("<li>")) == (3, 4)
    assert "without an answer" not in make_validation(photograph, 300, 9, undecodable=range(3)).page()


def test_runs_without_a_mistake_or_without_an_image_still_have_a_page(photograph: bytes) -> None:
    given = make_validation(photograph, 40, 9)
    indices, probabilities = (
        given.table.schema.field(f"ten_crop_{kind}").type for kind in ("indices", "probabilities")
    )
    found = pa.array([[row["label"]] for row in given.rows()], indices)
    columns = {"ten_crop_indices": found, "ten_crop_probabilities": pa.array([[1.0]] * 40, probabilities)}
    table = given.table
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    assert replace(given, table=table).page().count("<p>None.</p>") == 3
    assert "<figure" not in make_validation(photograph, 6, 9, undecodable=range(6)).page()


def test_labels_paths_and_names_of_any_characters_are_escaped(photograph: bytes) -> None:
    page = make_hostile(photograph).page()
    assert "<script>hacked" not in page and "<img src=x" not in page
    assert page.count("<script>") == page.count("</script>") == 1


def test_classes_of_the_same_words_are_told_apart(photograph: bytes) -> None:
    given = make_validation(photograph, 60, 3, k=3)
    cranes = (Label("n02012849", "crane"), Label("n03126707", "crane"), Label("n1", "ox"))
    page = replace(given, data=replace(given.data, labels=cranes)).page()
    assert {row[0] for row in read_table(page, "confusions")} <= {"crane (n02012849)", "crane (n03126707)"}


@pytest.mark.slow
def test_report_of_50000_images_and_1000_classes_is_small_and_made_in_flat_memory(photograph: bytes) -> None:
    peaks = {}
    for n in (5_000, 50_000):
        given = make_validation(photograph, n, 1000)
        given.page()  # fills the caches
        tracemalloc.start()
        page = given.page()
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(page) < 2_000_000
    assert peaks[50_000] - peaks[5_000] < 10_000_000  # columns of numbers; as Python rows it is 100 MB more
