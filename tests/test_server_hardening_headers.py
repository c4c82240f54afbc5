"""Every answer has the headers that keep a browser from guessing its type or framing it; HTML has a policy."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.metrics import Metrics
from tencrop.server.routes.validations import REPORT_RULES
from tencrop.server.settings import Settings

KEY = generate_key()
ANSWERS = [
    ("GET", "/", 200),
    ("GET", "/page/page.js", 200),
    ("GET", "/docs", 200),
    ("GET", "/docs/swagger-ui.css", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/healthz", 200),
    ("HEAD", "/readyz", 200),
    ("GET", "/metrics", 500),
    ("GET", "/v1/validations", 404),
    ("POST", "/v1/predict", 415),
    ("POST", "/v2/models/x/infer", 404),
    ("GET", "/v1/predict", 405),
    ("GET", "/nowhere", 404),
]


@pytest.fixture
def client(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client whose /metrics fail."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Metrics, "render", broken)
    (tmp_path / "keys").write_text(f"anna {hash_key(KEY)}\n")
    app = create_app([classifier], Settings(api_key_file=tmp_path / "keys"))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "no key"])  # a fixed name: xdist compares them
@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_is_hardened(client: TestClient, method: str, path: str, status: int, key: str | None) -> None:
    reply = client.request(method, path, headers={"X-API-Key": key} if key else {}, content=b"x")
    guarded = path.startswith(("/v1", "/v2"))
    assert reply.status_code == (401 if guarded and not key else status)
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }.items():
        assert reply.headers.get_list(name) == [value]
    if "html" in reply.headers.get("content-type", ""):
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


def test_the_documentation_runs_its_own_scripts_alone(client: TestClient) -> None:
    reply = client.get("/docs")
    (rule,) = (part for part in reply.headers["content-security-policy"].split("; ") if part.startswith("script-src"))
    scripts = re.findall(r"<script>(.*?)</script>", reply.text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 1 and rule == f"script-src 'self' 'sha256-{hashes[0]}'"


def test_a_report_reaches_no_server() -> None:
    assert "default-src 'none'" in REPORT_RULES and "connect-src" not in REPORT_RULES
