"""Pages of other origins read nothing, unless TENCROP_CORS_ORIGINS names their origin."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

KEY, ORIGIN = generate_key(), "https://one.test"
QUESTION = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture(scope="module")
def client(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"anna {hash_key(KEY)}\n")
    with TestClient(create_app([classifier], Settings(api_key_file=file, cors_origins=(ORIGIN,)))) as client:
        yield client


def test_a_page_of_a_named_origin_sends_its_key_and_reads_the_answer(
    client: TestClient, photographs: dict[str, Path]
) -> None:
    asked = client.options("/v1/predict", headers={"Origin": ORIGIN, **QUESTION})
    assert asked.status_code == 200 and asked.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"}
    answer = client.post("/v1/predict", content=photographs["china"].read_bytes(), headers=headers)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    refused = client.post("/v1/predict", headers={"Origin": ORIGIN})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == ORIGIN


def test_a_page_of_another_origin_reads_nothing(client: TestClient) -> None:
    asked = client.options("/v1/predict", headers={"Origin": "https://evil.test", **QUESTION})
    assert asked.status_code == 400 and "access-control-allow-origin" not in asked.headers
    answer = client.get("/healthz", headers={"Origin": "https://evil.test"})
    assert "access-control-allow-origin" not in answer.headers


def test_no_origin_is_named_by_default(classifier: Classifier) -> None:
    with TestClient(create_app([classifier], Settings())) as client:
        answer = client.get("/healthz", headers={"Origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert client.options("/v1/predict", headers={"Origin": ORIGIN, **QUESTION}).status_code == 405
