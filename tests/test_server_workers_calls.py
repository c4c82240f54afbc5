"""Calls of a worker: each is answered by itself, and the end of either process ends them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from multiprocessing import Pipe

import pytest

from tencrop.server.errors import ApiError
from tencrop.server.workers.calls import Caller, answer_calls

PATIENCE = 20  # seconds


def test_a_call_that_waits_holds_up_no_other_one() -> None:
    """The event loop of a worker makes calls, too, for /metrics and the events of a validation."""
    began, ended = threading.Event(), threading.Event()

    def wait() -> str:
        began.set()
        assert ended.wait(PATIENCE)
        return "late"

    ours, theirs = Pipe()
    answer_calls(theirs, {"wait": wait, "double": lambda number: 2 * number})
    caller = Caller(ours)
    with ThreadPoolExecutor() as threads:
        late = threads.submit(caller.call, "wait")
        assert began.wait(PATIENCE)
        try:
            assert threads.submit(caller.call, "double", 21).result(PATIENCE) == 42
        finally:
            ended.set()
        assert late.result(PATIENCE) == "late"
    ours.close()


def test_errors_come_back() -> None:
    def refuse() -> None:
        raise ApiError(HTTPStatus.CONFLICT, "finished", "it is over")

    ours, theirs = Pipe()
    answer_calls(theirs, {"refuse": refuse, "divide": lambda number: 1 / number})
    caller = Caller(ours)
    assert raised(lambda: caller.call("refuse")) == (HTTPStatus.CONFLICT, "finished")
    assert raised(lambda: caller.call("divide", 0)) == (HTTPStatus.INTERNAL_SERVER_ERROR, "internal")
    ours.close()


def test_the_end_of_the_engine_process_ends_a_call_that_waits() -> None:
    ours, theirs = Pipe()
    caller = Caller(ours)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(raised, lambda: caller.call("wait"))
        theirs.recv()
        theirs.close()
        assert waiting.result(PATIENCE) == (HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down")
    assert raised(lambda: caller.call("wait")) == (HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down")


def raised(call: Callable[[], object]) -> tuple[HTTPStatus, str]:
    with pytest.raises(ApiError) as error:
        call()
    return HTTPStatus(error.value.status_code), error.value.code
