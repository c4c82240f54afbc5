"""Turns: a queue in which clients take turns, then the requests of each client. A turn is charged with its cost."""

import heapq
import math
from collections import deque
from collections.abc import Hashable
from itertools import count
from typing import Generic, Protocol, TypeVar

from tencrop.server.requester import Requester

Item = TypeVar("Item")


class _Charged(Protocol):
    @property
    def next_charges(self) -> float:
        """The charges after the next turn; infinite where nothing waits."""
        ...


Member = TypeVar("Member", bound=_Charged)


class _Ranking(Generic[Member]):
    """Members by name. `first` finds the one with the least charges after its next turn; of equals, the oldest."""

    def __init__(self) -> None:
        self.members: dict[Hashable, Member] = {}
        self._heap: list[tuple[float, int, Member]] = []  # charges, age; an entry with other charges than its member's
        self._ages: dict[Hashable, int] = {}  # is void
        self._numbers = count()

    def add(self, name: Hashable, member: Member) -> Member:
        """Add a member, which is ranked once something of it waits."""
        self.members[name], self._ages[name] = member, next(self._numbers)
        return member

    def rank(self, name: Hashable) -> None:
        """Note that a member's next turn has changed. A member without one is forgotten."""
        member = self.members[name]
        if member.next_charges == math.inf:
            del self.members[name], self._ages[name]
            return
        heapq.heappush(self._heap, (member.next_charges, self._ages[name], member))
        if len(self._heap) > 2 * len(self.members) + 64:  # mostly void
            self._heap = [(each.next_charges, self._ages[key], each) for key, each in self.members.items()]
            heapq.heapify(self._heap)

    def first(self) -> Member:
        """The member that has the next turn. Call only where something waits."""
        while self._heap[0][0] != self._heap[0][2].next_charges:
            heapq.heappop(self._heap)
        return self._heap[0][2]


class _Request(Generic[Item]):
    """A request's waiting items in their order, each with its cost; and the charges of its turns so far."""

    def __init__(self, number: int, charged: float) -> None:
        self.number, self.charged = number, charged
        self.items: deque[tuple[Item, float]] = deque()

    @property
    def next_charges(self) -> float:
        return self.charged + self.items[0][1] if self.items else math.inf


class _Client(Generic[Item]):
    """A client's waiting requests; the charges of its turns so far; and of the request that had the last turn."""

    def __init__(self, name: str, charged: float) -> None:
        self.name, self.charged = name, charged
        self.last = 0.0
        self.requests: _Ranking[_Request[Item]] = _Ranking()

    @property
    def next_charges(self) -> float:
        return self.charged + self.requests.first().items[0][1] if self.requests.members else math.inf


class Turns(Generic[Item]):
    """Fair queueing by cost (self-clocked, Golestani 1994), of clients and then of each client's requests.

    The next turn goes to the client whose charges are least after it, and within the client to such a request. So a
    cheap request waits neither for the other images of a form nor for expensive requests that came before. A newcomer
    begins with the charges of the last turn: it owes nothing, and those that wait are not overtaken for ever.
    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._clients: _Ranking[_Client[Item]] = _Ranking()
        self._last = 0.0  # the charges of the client that had the last turn
        self._waiting = 0

    def __len__(self) -> int:
        """The number of items that wait."""
        return self._waiting

    def put(self, requester: Requester, item: Item, cost: float = 1.0) -> None:
        """Add an item behind the others of its request."""
        name, number = requester
        client = self._clients.members.get(name) or self._clients.add(name, _Client(name, self._last))
        requests = client.requests
        request = requests.members.get(number) or requests.add(number, _Request(number, client.last))
        request.items.append((item, cost))
        self._waiting += 1
        if len(request.items) == 1:
            self._rank(client, request)

    def take(self) -> Item:
        """Remove and return the item that has the next turn. Call only where an item waits."""
        client = self._clients.first()
        request = client.requests.first()
        item, cost = request.items.popleft()
        self._waiting -= 1
        client.charged += cost
        request.charged += cost
        self._last, client.last = client.charged, request.charged
        self._rank(client, request)
        return item

    def remove(self, requester: Requester, item: Item) -> None:
        """Remove an item without a turn and without charges. An item that does not wait is ignored."""
        client = self._clients.members.get(requester.client)
        request = client.requests.members.get(requester.number) if client else None
        if client and request:
            left = deque(each for each in request.items if each[0] is not item)
            self._waiting -= len(request.items) - len(left)
            request.items = left
            self._rank(client, request)

    def _rank(self, client: _Client[Item], request: _Request[Item]) -> None:
        """Note another next turn. Who has none is forgotten: a newcomer begins with the same charges."""
        client.requests.rank(request.number)
        self._clients.rank(client.name)
        if not self._clients.members:
            self._last = 0.0
