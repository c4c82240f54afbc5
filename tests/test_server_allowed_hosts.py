"""A server on loopback answers to its own names alone, so that no foreign page reads it by DNS rebinding."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import run_server

from tencrop.common.errors import BadInput
from tencrop.runtime.classifier import Classifier
from tencrop.server.allowed_hosts import is_loopback
from tencrop.server.app import create_app
from tencrop.server.settings import Settings, read_settings

OWN = ["localhost", "LocalHost:8000", "localhost.", "127.0.0.1", "127.0.0.1:80", "[::1]:8000", "192.168.1.7"]
NAMED = ["photos.test", "Photos.Test:8000", "a.example.com", "a.b.example.com:1"]
FOREIGN = ["evil.test", "evil.test:8000", "localhost.evil.test", "evil-localhost", "127.0.0.1.evil.test", "example.com"]
MALFORMED = ["", ":8000", "localhost:x", "localhost@evil.test", "evil.test:80:80", "2130706433", "[::1", "::1"]


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    settings = Settings(allowed_host=("photos.test", "*.example.com"))
    with TestClient(create_app([classifier], settings, is_local=True)) as client:
        yield client


@pytest.mark.parametrize("host", OWN + NAMED)
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/readyz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", [*FOREIGN, "x.photos.test", *MALFORMED])
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v1/validations", "/docs"])
def test_foreign_names_are_421(client: TestClient, host: str, path: str) -> None:
    reply = client.get(path, headers={"Host": host})
    assert (reply.status_code, reply.json()["error"]["code"]) == (421, "unknown_host")
    assert reply.headers["x-request-id"]


def test_a_host_longer_than_any_name_is_421(client: TestClient) -> None:
    """To compare each of 30,000 labels took a minute."""
    for size, status in ((242, 200), (243, 421), (60_000, 421)):
        assert client.get("/readyz", headers={"Host": "a" * size + ".example.com"}).status_code == status


def test_a_second_host_header_hides_no_foreign_name(client: TestClient) -> None:
    for pair in (("localhost", "evil.test"), ("evil.test", "localhost")):
        assert client.get("/healthz", headers=[("Host", host) for host in pair]).status_code == 421


def test_a_star_allows_every_name(classifier: Classifier) -> None:
    with TestClient(create_app([classifier], Settings(allowed_host=("*",)), is_local=True)) as client:
        assert client.get("/healthz", headers={"Host": "evil.test"}).status_code == 200


def test_a_server_on_another_address_checks_only_where_names_are_given(classifier: Classifier) -> None:
    for settings, status in ((Settings(), 200), (Settings(allowed_host=("photos.test",)), 421)):
        with TestClient(create_app([classifier], settings)) as client:
            assert client.get("/healthz", headers={"Host": "evil.test"}).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "fe80::1", "no such name", "127..0.0.1", ""])
def test_other_addresses_are_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.slow
def test_a_process_refuses_a_rebound_name_and_answers_the_named_one(null_model: Path, tmp_path: Path) -> None:
    options = ("--data-root", str(tmp_path), "--state-dir", str(tmp_path / "state"), "--allowed-host", "one.test")
    with run_server(str(null_model), *options, "--allowed-host", "two.test") as (_, url):
        port = url.rpartition(":")[2]
        statuses = {}
        for host in ("evil.test", f"evil.test:{port}", "one.test", "two.test", f"localhost:{port}"):
            for method in ("GET", "DELETE"):
                request = urllib.request.Request(f"{url}/v1/validations", headers={"Host": host}, method=method)
                try:
                    with urllib.request.urlopen(request, timeout=60) as reply:
                        statuses[method, host] = reply.status
                except urllib.error.HTTPError as error:
                    statuses[method, host] = error.code
    assert {host for (_, host), status in statuses.items() if status == 421} == {"evil.test", f"evil.test:{port}"}
    assert statuses["GET", "one.test"] == statuses["GET", "two.test"] == statuses["GET", f"localhost:{port}"] == 200


def test_the_variable_holds_names_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCROP_ALLOWED_HOST", "One.test, *.two.test")
    monkeypatch.setenv("TENCROP_CORS_ORIGINS", "https://one.test,http://localhost:3000")
    settings = read_settings()
    assert settings.allowed_host == ("one.test", "*.two.test")
    assert settings.cors_origins == ("https://one.test", "http://localhost:3000")
    assert read_settings(allowed_host=["three.test"]).allowed_host == ("three.test",)


@pytest.mark.parametrize("name", ["https://one.test", "one.test:80", "", "a b", "*.*.test", "one.test,"])
def test_a_bad_name_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCROP_ALLOWED_HOST", name)
    with pytest.raises(BadInput, match="allowed_host"):
        read_settings()


@pytest.mark.parametrize("origin", ["one.test", "https://one.test/", "null", "", "https://one.test/path"])
def test_a_bad_origin_is_refused(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCROP_CORS_ORIGINS", origin)
    with pytest.raises(BadInput, match="cors_origins"):
        read_settings()
