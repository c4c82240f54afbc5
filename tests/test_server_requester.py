"""Who counts as one client: the owner of a key, else an address with all of its connections."""

from typing import Any

import pytest
from fastapi import Request

from tencrop.server.requester import Requester, identify_by_id, identify_requester, number_request, without_id


def client(host: str | None, port: int = 1, owner: str | None = None) -> str:
    scope: dict[str, Any] = {"type": "http", "headers": [], "client": None if host is None else (host, port)}
    return identify_requester(Request(scope if owner is None else {**scope, "tencrop.key": owner})).client


def test_connections_of_an_address_are_one_client_and_each_request_has_a_number() -> None:
    assert client("10.0.0.1", 1) == client("10.0.0.1", 2) != client("10.0.0.2", 1)
    request = Request({"type": "http", "headers": [], "client": ("10.0.0.1", 1)})
    assert identify_requester(request).number != identify_requester(request).number


def test_owners_of_keys_are_clients_wherever_they_are() -> None:
    assert client("10.0.0.1", owner="alice") == client("10.0.0.2", owner="alice") != client("10.0.0.1", owner="bob")
    assert client("10.0.0.1", owner="10.0.0.1") != client("10.0.0.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("no:address", "no:other", False),
    ],
)
def test_an_ipv6_network_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client(one) == client(other)) is same


def test_a_client_without_an_address_is_a_client() -> None:
    assert client(None) == client(None) == ""


def test_the_number_of_an_id_is_below_zero_and_fits_64_bits() -> None:
    names = ["", "a", "0f3c9b", "x" * 64]
    numbers = [number_request(name) for name in names]
    assert len(set(numbers)) == len(names) and all(-(2**63) <= number < 0 for number in numbers)
    request = Request({"type": "http", "headers": [], "client": ("10.0.0.1", 1), "tencrop.request": "a"})
    assert identify_by_id(request) == ("10.0.0.1", numbers[1])


def test_a_request_of_several_images_has_a_number_without_its_id() -> None:
    assert without_id(Requester("one", number_request("a"))).number >= 0
    assert without_id(Requester("one", 7)) == ("one", 7)
