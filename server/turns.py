"""Turns: a queue in which clients take turns, then the requests of each client. A turn is charged with its cost."""

from collections import deque
from typing import Generic, TypeVar

from tencrop.server.requester import Requester

Item = TypeVar("Item")


class _Request(Generic[Item]):
    """A request's waiting items in their order, each with its cost; and the charges of its turns so far."""

    def __init__(self, charged: float) -> None:
        self.charged = charged
        self.items: deque[tuple[Item, float]] = deque()

    def next_charges(self) -> float:
        """The charges after the next turn."""
        return self.charged + self.items[0][1]


class _Client(Generic[Item]):
    """A client's waiting requests; the charges of its turns so far; and of the request that had the last turn."""

    def __init__(self, charged: float) -> None:
        self.charged = charged
        self.last = 0.0
        self.requests: dict[int, _Request[Item]] = {}

    def next_request(self) -> _Request[Item]:
        """The request that has the client's next turn."""
        return min(self.requests.values(), key=_Request.next_charges)

    def next_charges(self) -> float:
        """The charges after the next turn."""
        return self.charged + self.next_request().items[0][1]


class Turns(Generic[Item]):
    """Fair queueing by cost (self-clocked, Golestani 1994), of clients and then of each client's requests.

    The next turn goes to the client whose charges are least after it, and within the client to such a request. So a
    cheap request waits neither for the other images of a form nor for expensive requests that came before. A newcomer
    begins with the charges of the last turn: it owes nothing, and those that wait are not overtaken for ever.
    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _Client[Item]] = {}
        self._last = 0.0  # the charges of the client that had the last turn
        self._waiting = 0

    def __len__(self) -> int:
        """The number of items that wait."""
        return self._waiting

    def put(self, requester: Requester, item: Item, cost: float = 1.0) -> None:
        """Add an item behind the others of its request."""
        client = self._clients.setdefault(requester.client, _Client(self._last))
        request = client.requests.setdefault(requester.number, _Request(client.last))
        request.items.append((item, cost))
        self._waiting += 1

    def take(self) -> Item:
        """Remove and return the item that has the next turn. Call only where an item waits."""
        name, client = min(self._clients.items(), key=lambda each: each[1].next_charges())
        number, request = min(client.requests.items(), key=lambda each: each[1].next_charges())
        item, cost = request.items.popleft()
        self._waiting -= 1
        client.charged += cost
        request.charged += cost
        self._last, client.last = client.charged, request.charged
        self._forget_empty(name, number)
        return item

    def remove(self, requester: Requester, item: Item) -> None:
        """Remove an item without a turn and without charges. An item that does not wait is ignored."""
        client = self._clients.get(requester.client)
        request = client.requests.get(requester.number) if client else None
        if request:
            left = deque(each for each in request.items if each[0] is not item)
            self._waiting -= len(request.items) - len(left)
            request.items = left
            self._forget_empty(*requester)

    def _forget_empty(self, client: str, number: int) -> None:
        """Forget a request, and then a client, without waiting items: a newcomer begins with the same charges."""
        requests = self._clients[client].requests
        if not requests[number].items:
            del requests[number]
        if not requests:
            del self._clients[client]
        if not self._clients:
            self._last = 0.0
