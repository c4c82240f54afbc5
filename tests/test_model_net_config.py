"""model/net_config.py: the numbers of the net, and the keys under which recipes store them."""

import pickle
from dataclasses import replace

import pytest

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.net_config import LRN, Conv, Linear, NetConfig, WithinMapLRN


def test_the_papers_alpha_is_five_times_the_divided_one() -> None:
    assert LRN(alpha_divided=False).alpha_each == pytest.approx(5 * LRN().alpha_each)
    assert LRN().alpha_each == pytest.approx(1e-4 / 5)


@pytest.mark.parametrize("spec", [Conv(8, 3, groups=2), Linear(8, groups=2), LRN(groups=2)])
def test_groups_are_stored_as_columns(spec: Conv | Linear | LRN) -> None:
    plain = dump(spec)
    assert plain["columns"] == 2 and "groups" not in plain
    assert parse(type(spec), plain, "x") == spec == replace(spec, groups=2) == pickle.loads(pickle.dumps(spec))
    with pytest.raises(BadInput, match="x: groups: unexpected keyword argument"):
        parse(type(spec), {**plain, "groups": 2}, "x")


def test_a_net_is_stored_and_read_again() -> None:
    assert parse(NetConfig, dump(NetConfig()), "x") == NetConfig()


@pytest.mark.parametrize("kind", [LRN, WithinMapLRN])
def test_a_window_without_a_middle_is_bad_input(kind: type) -> None:
    with pytest.raises(BadInput, match=r"x: size: .*a window has a middle: its size must be odd"):
        parse(kind, {"size": 4}, "x")
