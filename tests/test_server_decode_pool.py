"""The decoders: expensive images leave one to cheap images, clients take turns, and a cancelled call frees its turn."""

import asyncio
import threading
import traceback
from collections.abc import Awaitable, Callable

import pytest
from PIL import Image
from support.pictures import CONTRACT, encode

from tencrop.images.decode_cost import CHEAP
from tencrop.images.errors import ImageError
from tencrop.server.decode_pool import DecodePool
from tencrop.server.requester import Requester

EXPENSIVE = CHEAP + 1
ONE, OTHER = Requester("one", 1), Requester("other", 2)


class Calls:
    """Calls that each hold a thread until they are let go."""

    def __init__(self, pool: DecodePool) -> None:
        self.pool = pool
        self.began: list[str] = []
        self.gates: dict[str, threading.Event] = {}

    def start(self, name: str, cost: float, requester: Requester = ONE) -> "asyncio.Task[str]":
        self.gates[name] = threading.Event()

        def call() -> str:
            self.began.append(name)
            assert self.gates[name].wait(30)
            return name

        return asyncio.ensure_future(self.pool.run(requester, cost, call))

    async def until(self, *names: str) -> None:
        """Wait until exactly these calls have begun."""
        async with asyncio.timeout(10):
            while sorted(self.began) != sorted(names):
                await asyncio.sleep(0.001)

    async def let_go(self, name: str, task: "asyncio.Task[str]") -> None:
        self.gates[name].set()
        assert await task == name


def run(use: Callable[[Calls], Awaitable[None]], decoders: int = 2) -> None:
    async def main() -> None:
        pool = DecodePool(decoders)
        calls = Calls(pool)
        try:
            await use(calls)
        finally:
            for gate in calls.gates.values():
                gate.set()
            pool.close()

    asyncio.run(main())


@pytest.mark.parametrize("decoders", [1, 2, 5])
@pytest.mark.parametrize(("many", "few"), [(EXPENSIVE, CHEAP), (CHEAP, EXPENSIVE)])
def test_each_kind_leaves_a_decoder_to_the_other(decoders: int, many: float, few: float) -> None:
    async def use(calls: Calls) -> None:
        for number in range(20):
            calls.start(f"many {number}", many, Requester("crowd", number))
        running = [f"many {number}" for number in range(decoders)]
        await calls.until(*running)
        task = calls.start("few", few)
        await calls.until(*running, "few")
        await calls.let_go("few", task)

    run(use, decoders)


def test_a_form_and_another_client_take_turns() -> None:
    async def use(calls: Calls) -> None:
        form = [calls.start(f"form {number}", EXPENSIVE) for number in range(4)]
        await calls.until("form 0")
        other = [calls.start(f"other {number}", EXPENSIVE, OTHER) for number in range(2)]
        await asyncio.sleep(0)  # the tasks join the queue
        for name, task in (("form 0", form[0]), ("form 1", form[1]), ("other 0", other[0]), ("form 2", form[2])):
            await calls.until(*{*calls.began, name})
            await calls.let_go(name, task)
        await calls.until("form 0", "form 1", "other 0", "form 2", "other 1")
        assert calls.began == ["form 0", "form 1", "other 0", "form 2", "other 1"]

    run(use, decoders=1)


def test_a_cancelled_call_that_waits_frees_its_turn_at_once() -> None:
    async def use(calls: Calls) -> None:
        first, gone, last = (calls.start(name, EXPENSIVE) for name in ("first", "gone", "last"))
        await calls.until("first")
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled() and len(calls.pool._expensive.turns) == 1
        await calls.let_go("first", first)
        await calls.until("first", "last")
        await calls.let_go("last", last)

    run(use, decoders=1)


def test_a_cancelled_call_that_runs_keeps_its_thread_until_it_ends() -> None:
    """Clients that send expensive images and leave must not pile up work behind the decoder of cheap images."""

    async def use(calls: Calls) -> None:
        for number in range(3):
            left = calls.start(f"left {number}", EXPENSIVE)
            await asyncio.sleep(0.01)
            left.cancel()
            await asyncio.wait([left])
        assert calls.began == ["left 0"]
        waiting = calls.start("waiting", EXPENSIVE)
        await calls.let_go("cheap", calls.start("cheap", CHEAP))
        assert calls.began == ["left 0", "cheap"]
        calls.gates["left 0"].set()
        await calls.until("left 0", "cheap", "waiting")
        await calls.let_go("waiting", waiting)

    run(use, decoders=1)


def test_a_call_that_is_cancelled_as_its_turn_comes_passes_the_turn_on() -> None:
    async def use(calls: Calls) -> None:
        first, gone, last = (calls.start(name, EXPENSIVE) for name in ("first", "gone", "last"))
        await calls.until("first")
        calls.gates["first"].set()
        while calls.pool._expensive.running and len(calls.pool._expensive.turns) == 2:
            await asyncio.sleep(0)  # until the turn has come to `gone`, which has not noticed yet
        gone.cancel()
        assert await first == "first"
        await calls.until("first", "last")
        await calls.let_go("last", last)
        assert calls.pool._expensive.running == 0

    run(use, decoders=1)


def test_an_error_of_a_call_reaches_its_caller_and_frees_the_thread() -> None:
    async def use(calls: Calls) -> None:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await calls.pool.run(ONE, CHEAP, lambda: 1 / 0)
        await asyncio.sleep(0)
        assert calls.pool._cheap.running == 0

    run(use, decoders=1)


def test_an_error_holds_no_pixels_of_a_damaged_image() -> None:
    """In a form, errors wait for the answers of the other images."""
    held: list[Image.Image] = []

    async def use(calls: Calls) -> None:
        data = encode(Image.new("RGBA", (600, 500)), "PNG")[:-50]
        with pytest.raises(ImageError, match="damaged image") as raised:
            await calls.pool.decode(data, CONTRACT, ONE, CHEAP)
        error: BaseException | None = raised.value
        while error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                held.extend(each for each in frame.f_locals.values() if isinstance(each, Image.Image))
            error = error.__context__

    run(use)
    assert held == []
