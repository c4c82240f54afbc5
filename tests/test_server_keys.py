"""API keys: /v1, /v2 and POST / check them before a body is read. The key file, and the command that makes a key."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import Keys, add_key, generate_key, hash_key
from tencrop.server.settings import Settings

KEY, OTHER = generate_key(), generate_key()
SENT = [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"X-API-Key": KEY}]
WRONG = [
    {},
    {"X-API-Key": ""},
    {"X-API-Key": hash_key(KEY)},
    {"Authorization": f"Basic {KEY}"},
    {"Authorization": f"Bearer {OTHER}"},
]


@pytest.fixture(scope="module")
def client(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# who may ask\n\nanna {hash_key(KEY)}\nbert  {hash_key(generate_key())}  # until May\n")
    with TestClient(create_app([classifier], Settings(api_key_file=file))) as client:
        yield client


@pytest.mark.parametrize("headers", SENT)
def test_a_key_gives_access(client: TestClient, headers: dict[str, str], photographs: dict[str, Path]) -> None:
    assert client.post("/v1/predict", content=photographs["china"].read_bytes(), headers=headers).status_code == 200
    assert client.get("/v2/models/caltech101", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1/predict", "/v1/predict/batch", "/v1/image-classification", "/v1/validations", "/v1/nowhere"]
)
@pytest.mark.parametrize("headers", WRONG)
def test_without_a_key_the_answer_is_401(client: TestClient, path: str, headers: dict[str, str]) -> None:
    reply = client.post(path, content=b"x", headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "unauthorized")
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v2", "/v2/models/caltech101", "/v2/models/stats"])
def test_the_open_inference_protocol_requires_a_key_too(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 401 and isinstance(reply.json()["error"], str)


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"]
)
def test_probes_metrics_page_and_documentation_need_no_key(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_body_is_not_read_before_the_key(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        read.append(1)
        yield b"x"

    read: list[int] = []
    scope_read = client.post(
        "/v1/predict", content=bytes(33 << 20)
    )  # larger than the limit: 413 if the body were counted
    assert scope_read.status_code == 401
    assert client.post("/v1/predict", content=body(), headers=SENT[0]).status_code == 415 and read == [1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key"),
        ("# none\n", "holds no key"),
        ("anna secret\n", "line 1 is not"),
        (f"\n{'0' * 64}\n", "line 2 is not"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_key_file_is_one_line(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput, match=why):
        Keys.read(file)


def test_the_command_makes_a_key_and_its_line(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tencrop", "key", "anna"], capture_output=True, text=True, timeout=60, check=True
    )
    file = tmp_path / "keys"
    file.write_text(made.stdout)
    assert Keys.read(file).find_owner(made.stderr.strip()) == "anna"


def test_a_key_file_is_made_with_mode_600(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, secrets = tmp_path / "keys", {}
    for name in ("anna", "bert"):
        monkeypatch.setattr("sys.argv", ["tencrop", "key", name, "--to", str(file)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert not ended.value.code and printed.out == ""
        secrets[name] = printed.err.strip()
        assert file.stat().st_mode & 0o777 == 0o600
    keys = Keys.read(file)
    assert {name: keys.find_owner(secret) for name, secret in secrets.items()} == {"anna": "anna", "bert": "bert"}
    assert not any(secret in file.read_text() for secret in secrets.values())


def test_an_older_key_file_gets_mode_600_and_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"anna {hash_key(KEY)}")  # without a newline
    file.chmod(0o644)
    add_key(file, "bert", OTHER)
    keys = Keys.read(file)
    assert (keys.find_owner(KEY), keys.find_owner(OTHER)) == ("anna", "bert")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tencrop", "key", "anna", "--to", str(tmp_path / "no" / "keys")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 1 and not printed.out and printed.err.count("\n") == 1


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o602, 1)])
def test_other_users_access_to_a_key_file_is_a_warning(
    mode: int, warned: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"anna {hash_key(KEY)}\n")
    file.chmod(mode)
    assert Keys.read(file).find_owner(KEY) == "anna"
    assert [record.getMessage().endswith("use chmod 600") for record in caplog.records] == [True] * warned


@pytest.mark.parametrize("name", ["", "two words", "two\nlines", "anna#", "anna\u2003", "anna\x1b[2J", "anna\u202e"])
def test_a_name_that_is_not_one_word_gets_no_key(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tencrop", "key", name])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and not said.out and said.err.count("\n") == 1
