"""Requester: who sent a request, for the queues in which clients and their requests take turns."""

import ipaddress
import itertools
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


def _network(host: str) -> str:
    """The host itself, of an IPv6 address its network."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:  # a proxy's header may say anything
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
