"""experiments/transfer.py: what a draw takes for pre-training, training and test; the table of the results."""

import json
from pathlib import Path

from experiments.transfer import LEAST, NEW, draw_classes, split_photographs
from experiments.transfer_results import accuracy_table, group_runs, read_results

SIZES = {f"class{number:03d}": 30 + number for number in range(40)}
PHOTOGRAPHS = {name: [f"{name}/{number:03d}.jpg" for number in range(size)] for name, size in SIZES.items()}


def test_a_draw_parts_the_classes_and_each_draw_parts_them_otherwise() -> None:
    draws = [draw_classes(PHOTOGRAPHS, draw) for draw in range(3)]
    for old, new in draws:
        assert len(new) == NEW and old | new == PHOTOGRAPHS
        assert min(SIZES[name] for name in new) >= LEAST
    assert draws[0] == draw_classes(PHOTOGRAPHS, 0)
    assert draws[0] != draws[1] != draws[2] != draws[0]


def test_more_training_images_contain_the_fewer_and_the_test_stays_the_same() -> None:
    _, new = draw_classes(PHOTOGRAPHS, 0)
    five, thirty = (split_photographs(new, each, choose=False) for each in (5, 30))
    assert set(five["train"]) < set(thirty["train"]) and len(thirty["train"]) == 30 * NEW
    assert five["val"] == thirty["val"]
    assert not set(thirty["train"]) & set(thirty["val"])
    chosen = split_photographs(new, 20, choose=True)
    assert set(chosen["val"]) == set(thirty["train"]) - set(chosen["train"])


def test_the_table_has_the_mean_and_the_range_over_draws_without_runs_that_choose(tmp_path: Path) -> None:
    for draw, share in enumerate((0.5, 0.7)):
        for choose in (False, True):
            run = tmp_path / f"draw{draw}" / f"finetune-5{'-choose' * choose}"
            run.mkdir(parents=True)
            accuracies = {"ten_crop": {"per_class": 0.0 if choose else share}, "training_seconds": 120}
            result = {"draw": draw, "method": "finetune", "each": 5, "choose": choose, **accuracies}
            (run / "result.json").write_text(json.dumps(result))
    assert accuracy_table(group_runs(read_results(sorted(tmp_path.iterdir())))) == [
        "| images per class | draws | finetune | minutes |",
        "|---|---|---|---|",
        "| 5 | 2 | 60.0 (50.0 to 70.0) | 2.0 |",
    ]
