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
        ("Conv", {"kernel_shape": [3, 3], "dilations": [2, 2]}),
        ("Conv", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ],
    ids=["no kernel", "a line", "not square", "two strides", "two paddings", "dilated", "auto_pad", "padded pooling"],
)
def test_windows_that_views_do_not_share(op: str, attributes: dict[str, Any]) -> None:
    assert Window.read(helper.make_node(op, ["x", "w"], ["y"], **attributes)) is None


@pytest.mark.parametrize(("rounds_up", "count"), [(False, 27), (True, 28)])
def test_a_pooling_may_count_a_window_that_lies_partly_on_the_map(rounds_up: bool, count: int) -> None:
    assert Window(3, 2, 0, 0, rounds_up).count(56) == count
