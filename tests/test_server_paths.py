"""Paths with a slash at the end, below a sub-path, and with a method that they do not answer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

ROOT = "/nets/tencrop"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    (folder / "data" / "photos" / "ant").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def client(classifier: Classifier, data: Path) -> Iterator[TestClient]:
    with serving(classifier, Settings(data_root=data / "data", state_dir=data / "state")) as client:
        yield client


def serving(classifier: Classifier, settings: Settings) -> TestClient:
    return TestClient(create_app([classifier], settings), follow_redirects=False)


@pytest.mark.parametrize("path", ["/healthz", "/v2", "/v2/models/caltech101", "/v1/validations", "/docs", "/metrics"])
def test_a_slash_at_the_end_is_no_redirect(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == client.get(f"{path}/").status_code == 200
    assert client.get(f"{path}//").status_code == client.get(path + "/" * 5000).status_code == 404


def test_a_post_with_a_slash_at_the_end_keeps_its_body(client: TestClient, photographs: dict[str, Path]) -> None:
    photo = photographs["china"].read_bytes()
    answers = [client.post(path, content=photo) for path in ("/v1/predict", "/v1/predict/", "/v1/predict/?top=5")]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json()["top"] == answers[1].json()["top"] == answers[2].json()["top"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/validations", "GET, HEAD, POST"),
        ("POST", "/v1/validations/some", "DELETE, GET, HEAD"),
        ("GET", "/v1/predict", "POST"),
        ("GET", "/v1/predict/", "POST"),
        ("DELETE", "/", "GET, HEAD, POST"),
        ("POST", "/docs/swagger-ui.css", "GET, HEAD"),
        ("TRACE", "/v2/models/caltech101/infer", "POST"),
    ],
)
def test_405_lists_every_allowed_method(client: TestClient, method: str, path: str, allowed: str) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    assert reply.json()["error"]


@pytest.mark.parametrize("given", [ROOT, f"{ROOT}/"])
@pytest.mark.parametrize("cut", [True, False])
def test_everything_works_below_a_sub_path(classifier: Classifier, data: Path, given: str, cut: bool) -> None:
    """The proxy cuts the sub-path off, or does not."""
    settings = Settings(root_path=given, data_root=data / "data", state_dir=data / "below")
    with serving(classifier, settings) as client:

        def get(seen: str) -> str:
            """The text at a path as a browser sees it."""
            assert seen == ROOT or seen.startswith(f"{ROOT}/"), seen
            reply = client.get(seen.removeprefix(ROOT) or "/" if cut else seen)
            assert reply.status_code == 200, seen
            return reply.text

        for page in (ROOT, f"{ROOT}/", f"{ROOT}/docs"):
            links = re.findall(r"""(?:src|href|url)(?:=|: )["'](/[^"']*)["']""", get(page))
            assert len(links) >= 2
            for link in links:
                get(link)
        assert json.loads(get(f"{ROOT}/openapi.json"))["servers"] == [{"url": ROOT}]
        reply = client.post("/v1/validations" if cut else f"{ROOT}/v1/validations", json={"dataset": "photos"})
        get(reply.headers["location"])


@pytest.mark.parametrize("path", ["/v1/validations", f"{ROOT}/v1/validations", f"{ROOT}{ROOT}/v1/validations"])
def test_no_path_goes_round_the_keys(classifier: Classifier, data: Path, path: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {hash_key(generate_key())}\n")
    settings = Settings(
        root_path=ROOT, api_key_file=tmp_path / "keys", data_root=data / "data", state_dir=tmp_path / "state"
    )
    with serving(classifier, settings) as client:
        for asked in (path, f"{path}/", f"{ROOT}/{path}"):
            assert client.get(asked).status_code in (401, 404)


@pytest.mark.parametrize("path", ["tencrop", "//evil.test", "/a?b", "/a b", "https://x/y", '/"><script>'])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        Settings(root_path=path)
