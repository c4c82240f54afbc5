"""common/errors.py: an error holds what happened and the advice, and prints both."""

import pickle
import signal

import pytest

from tencrop.common.errors import BadInput, Stopped, TencropError, WorkFailed, one_line


@pytest.mark.parametrize("kind", [BadInput, WorkFailed, Stopped])
def test_an_error_keeps_what_and_advice_also_through_a_pickle(kind: type[TencropError]) -> None:
    error = pickle.loads(pickle.dumps(kind("a; b: damaged", "fetch a again")))
    assert type(error) is kind and isinstance(error, TencropError)
    assert (error.what, error.advice, str(error)) == ("a; b: damaged", "fetch a again", "a; b: damaged; fetch a again")


def test_a_stop_keeps_its_signal_also_through_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(Stopped("stopped", number=signal.SIGINT))).number == signal.SIGINT
    assert Stopped("stopped").number == signal.SIGTERM


def test_an_error_without_advice_is_what_happened() -> None:
    assert str(BadInput("a: damaged")) == "a: damaged"


def test_a_message_of_another_library_becomes_one_short_line() -> None:
    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert len(one_line("x" * 1000)) == 200
