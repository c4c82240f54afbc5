"""experiments/transfer.py: what a draw takes for the pre-training, for training and for the test."""

from experiments.transfer import LEAST, NEW, draw_classes, split_photographs

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
