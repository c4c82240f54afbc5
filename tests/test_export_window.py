"""export/window.py: the windows that views can share, and the sizes of their maps."""

from typing import Any

import pytest
from onnx import helper

from tencrop.export.window import Window


def test_a_convolution_need_not_state_its_kernel() -> None:
    assert Window.read(helper.make_node("Conv", ["x", "w"], ["y"]), (3, 3)) == Window(3, 1, 0, 0, False)
    stated = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[5, 5], strides=[4, 4], pads=[0, 0, 3, 3])
    assert Window.read(stated) == Window(5, 4, 0, 3, False)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Conv", {}),
        ("Conv", {"kernel_shape": [3]}),
        ("Conv", {"kernel_shape": [3, 5]}),
        ("Conv", {"kernel_shape": [3, 3], "strides": [1, 2]}),
        ("Conv", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 0]}),
        ("Conv", {"kernel_shape": [3, 3], "pads": [0, 0, 3, 3]}),
        ("Conv", {"kernel_shape": [3, 3], "dilations": [2, 2]}),
        ("Conv", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ],
    ids=[
        "no kernel",
        "a line",
        "not square",
        "two strides",
        "two paddings",
        "zeros alone",
        "dilated",
        "auto_pad",
        "padded pooling",
    ],
)
def test_windows_that_views_do_not_share(op: str, attributes: dict[str, Any]) -> None:
    assert Window.read(helper.make_node(op, ["x", "w"], ["y"], **attributes)) is None


@pytest.mark.parametrize(
    ("window", "side", "count"),
    [
        (Window(3, 2, 0, 0, False), 56, 27),
        (Window(3, 2, 0, 0, True), 56, 28),
        (Window(3, 2, 0, 0, True), 55, 27),
        (Window(3, 4, 0, 0, True), 8, 2),
        (Window(11, 4, 0, 3, False), 224, 55),
    ],
    ids=["rounded down", "rounded up", "nothing to round", "a window that begins beyond the map", "the paper's"],
)
def test_number_of_windows(window: Window, side: int, count: int) -> None:
    assert window.count(side) == count
