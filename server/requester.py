"""Requester: who sent a request, for the queues in which clients and their requests take turns."""

import ipaddress
import itertools
from hashlib import blake2b
from typing import NamedTuple

from fastapi import Request

IPV6_PREFIX = 64  # bits; one host may use every address below them

_numbers = itertools.count()


class Requester(NamedTuple):
    """A client, and the number of one of its requests."""

    client: str
    number: int


def identify_requester(request: Request) -> Requester:
    """The owner of the request's key, else the client's address. All connections of an address are one client.

    An address costs an attacker more than a connection does. Of IPv6, the first 64 bits count.
    """
    owner = request.scope.get("tencrop.key")
    if owner is not None:
        return Requester(f"key {owner}", next(_numbers))
    return Requester(_network(request.client.host if request.client else ""), next(_numbers))


def identify_by_id(request: Request) -> Requester:
    """As `identify_requester`, but with the number of the request's id."""
    return Requester(identify_requester(request).client, number_request(request.scope["tencrop.request"]))


def number_request(request_id: str) -> int:
    """The number of a request's id, below zero: 63 bits of its hash. `identify_requester` counts from zero."""
    return -1 - (int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest()) >> 1)


def without_id(requester: Requester) -> Requester:
    """The requester of several images, whose request's id names none of them."""
    return requester if requester.number >= 0 else requester._replace(number=next(_numbers))


def _network(host: str) -> str:
    """The host itself, of an IPv6 address its network."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:  # a proxy's header may say anything
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
