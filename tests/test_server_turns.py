"""The order of turns: clients first, then the requests of a client, charged with what their items cost."""

from tencrop.server.requester import Requester
from tencrop.server.turns import Turns


def put(turns: Turns[str], client: str, number: int, *items: str, cost: float = 1.0) -> None:
    for item in items:
        turns.put(Requester(client, number), item, cost)


def take_all(turns: Turns[str]) -> str:
    return " ".join(turns.take() for _ in range(len(turns)))


def test_items_of_a_request_keep_their_order() -> None:
    turns: Turns[str] = Turns()
    put(turns, "a", 1, *"12345")
    assert len(turns) == 5 and take_all(turns) == "1 2 3 4 5" and not turns


def test_clients_take_turns_however_many_requests_one_has() -> None:
    turns: Turns[str] = Turns()
    for number in range(16):
        put(turns, "many", number, f"m{number}")
    put(turns, "one", 99, "o0", "o1", "o2")
    assert take_all(turns).split()[:7] == ["m0", "o0", "m1", "o1", "m2", "o2", "m3"]


def test_requests_of_a_client_take_turns() -> None:
    turns: Turns[str] = Turns()
    put(turns, "a", 1, "x1", "x2", "x3", "x4")
    put(turns, "a", 2, "y1")
    put(turns, "a", 3, "z1", "z2")
    assert take_all(turns) == "x1 y1 z1 x2 z2 x3 x4"


def test_a_late_request_waits_for_no_form_that_came_before() -> None:
    turns: Turns[str] = Turns()
    put(turns, "a", 1, *(f"x{i}" for i in range(60)))
    assert [turns.take() for _ in range(10)] == [f"x{i}" for i in range(10)]
    put(turns, "a", 2, "late")
    put(turns, "b", 3, "other")
    assert {turns.take() for _ in range(3)} == {"x10", "late", "other"}


def test_a_cheap_request_overtakes_expensive_ones_of_the_same_client() -> None:
    turns: Turns[str] = Turns()
    for number in range(16):
        put(turns, "a", number, f"e{number}", cost=500)
    put(turns, "a", 16, "cheap", cost=0.1)
    assert take_all(turns).split()[:2] == ["cheap", "e0"]


def test_turns_are_shared_by_cost_and_not_by_number() -> None:
    turns: Turns[str] = Turns()
    put(turns, "heavy", 1, *"HHHH", cost=5)
    put(turns, "light", 2, *"llllllllllllllllllll", cost=1)
    order = take_all(turns).replace(" ", "")
    assert order.startswith("llll") and order[:12].count("H") == 2 and order[:18].count("H") == 3


def test_an_expensive_item_gets_its_turn_though_cheap_requests_come_without_end() -> None:
    for clients in (["a"] * 1000, [f"client {i}" for i in range(1000)]):
        turns: Turns[str] = Turns()
        put(turns, "a", 0, "expensive", cost=50)
        put(turns, "a", 1, "cheap")
        for number, client in enumerate(clients, 2):
            put(turns, client, number, "cheap")  # two wait beside the expensive one
            if turns.take() == "expensive":
                break
        assert 50 <= number <= 110


def test_a_newcomer_owes_nothing_and_is_owed_nothing() -> None:
    turns: Turns[str] = Turns()
    put(turns, "old", 1, *"oooooooooo")
    assert [turns.take() for _ in range(6)] == ["o"] * 6
    put(turns, "new", 2, *"nnnn")
    assert take_all(turns) == "o n o n o n o n"


def test_a_removed_item_has_no_turn_and_costs_none() -> None:
    turns: Turns[str] = Turns()
    put(turns, "a", 1, "gone", cost=500)
    put(turns, "a", 1, "x1", "x2")
    put(turns, "b", 2, "y1", "y2")
    turns.remove(Requester("a", 1), "gone")
    turns.remove(Requester("a", 1), "gone")
    turns.remove(Requester("c", 3), "never came")
    assert len(turns) == 4 and take_all(turns) == "x1 y1 x2 y2"


def test_nothing_is_kept_of_clients_that_do_not_wait() -> None:
    turns: Turns[str] = Turns()
    put(turns, "stays", 0, *"ssssssssss", cost=1e9)
    for number in range(1, 100):
        put(turns, f"client {number}", number, "c")
        assert turns.take() == "c"
        put(turns, f"leaves {number}", number, "l")
        turns.remove(Requester(f"leaves {number}", number), "l")
    assert list(turns._clients.members) == ["stays"]


def test_turns_cost_no_more_where_hundreds_wait() -> None:
    """Entries of the rankings stay in proportion to what waits, whatever was removed before."""
    turns: Turns[int] = Turns()
    for number in range(100):
        turns.put(Requester("stays", number), number)
    for number in range(1000, 6000):
        for requester in (Requester("leaves", number), Requester("stays", 0)):
            turns.put(requester, number)
            turns.remove(requester, number)
    ranking = turns._clients.members["stays"].requests
    assert len(ranking._heap) <= 2 * 100 + 64 and len(turns._clients._heap) <= 2 + 64
    assert [turns.take() for _ in range(len(turns))] == list(range(100))
