"""GET /v1/models lists what is served; /v1/models/NAME has the labels, the contract and the file's hash."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tencrop.common.errors import BadInput
from tencrop.images.decoder_version import decoder_version
from tencrop.model.embedded import EMBEDDED
from tencrop.model.model_card import make_card
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.ensemble import Ensemble
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

HASH = hashlib.sha256((EMBEDDED / "tencrop.onnx").read_bytes()).hexdigest()
FILE = TenCropFile.read(EMBEDDED)
ENTRY = {
    "name": "caltech101",
    "engine": "openvino",
    "device": "cpu",
    "precision": "fp32",
    "sha256": HASH,
    "contract_sha256": FILE.metadata.contract.sha256,
    "decoder": decoder_version(),
    "coverages": list(FILE.metadata.calibration.coverages) if FILE.metadata.calibration else [],
    "features": [],
    "classes": 101,
}


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    """The embedded model, and an ensemble of it with itself."""
    with TestClient(create_app([classifier, Ensemble("pair", (classifier, classifier))], Settings())) as client:
        yield client


def get(client: TestClient, path: str) -> Any:
    reply = client.get(path)
    assert reply.status_code == 200
    return reply.json()


def test_the_list_has_every_model_and_no_labels(client: TestClient) -> None:
    sha256 = hashlib.sha256((HASH + HASH).encode()).hexdigest()
    pair = {**ENTRY, "name": "pair", "sha256": sha256, "coverages": []}  # no ensemble is calibrated
    assert get(client, "/v1/models") == {"models": [ENTRY, pair]}


def test_a_model_is_described_as_its_file_says(client: TestClient, classifier: Classifier) -> None:
    found = get(client, "/v1/models/caltech101")
    assert {key: found[key] for key in ENTRY} == ENTRY
    assert found["contract"] == {
        "resize": 256,
        "crop": 224,
        "filter": "bilinear",
        "channels": "rgb",
        "decode": {"jpeg_scale_from": 1024, "icc_profile": "srgb"},
        "sha256": classifier.contract.sha256,
    }
    assert found["members"] == []


def test_labels_are_those_of_predictions(client: TestClient, photographs: dict[str, Path]) -> None:
    labels = get(client, "/v1/models/caltech101")["labels"]
    assert [label["index"] for label in labels] == list(range(101))
    top = client.post("/v1/predict?top=101", content=photographs["china"].read_bytes()).json()["top"]
    for guess in top:
        assert labels[guess["index"]] == {key: guess[key] for key in ("index", "id", "label")}


def test_an_ensemble_names_its_members(client: TestClient) -> None:
    found = get(client, "/v1/models/pair")
    assert found["members"] == [{"name": "caltech101", "sha256": HASH}] * 2
    assert len(found["labels"]) == 101 and found["errors"] is None


def test_errors_are_those_of_the_summary_beside_the_file(client: TestClient) -> None:
    summary = json.loads((EMBEDDED / "summary.json").read_text())
    errors = get(client, "/v1/models/caltech101")["errors"]
    assert errors == {key: summary[key] for key in errors}
    assert {"dataset", "n", "center", "ten_crop", "mean_over_classes"} < set(errors)


def test_errors_of_another_file_are_not_told(classifier: Classifier, tmp_path: Path) -> None:
    copied = replace(classifier, file=replace(classifier.file, folder=tmp_path))
    summary = json.loads((EMBEDDED / "summary.json").read_text())
    summary["model"]["sha256"] = "0" * 64
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with TestClient(create_app([copied], Settings())) as client:
        assert get(client, "/v1/models/caltech101")["errors"] is None


def test_a_damaged_summary_ends_the_start(classifier: Classifier, tmp_path: Path) -> None:
    copied = replace(classifier, file=replace(classifier.file, folder=tmp_path))
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(BadInput, match=r"summary\.json: damaged"):
        create_app([copied], Settings())


def test_the_card_is_that_of_the_command(client: TestClient) -> None:
    reply = client.get("/v1/models/caltech101/card")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert reply.text == make_card(TenCropFile.read(EMBEDDED))


def test_an_ensemble_has_no_card_but_names_its_nets(client: TestClient) -> None:
    reply = client.get("/v1/models/pair/card")
    message = "an ensemble has no card; its nets are caltech101, caltech101"
    assert (reply.status_code, reply.json()) == (404, {"error": {"code": "no_card", "message": message}})


def test_an_unknown_model_is_404_and_the_known_ones_are_named(client: TestClient) -> None:
    reply = client.get("/v1/models/resnet")
    assert reply.status_code == 404
    message = "no model 'resnet'; served are caltech101, pair"
    assert reply.json() == {"error": {"code": "unknown_model", "message": message}}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/caltech101", "/v1/models/caltech101/card"])
def test_models_follow_the_rules_of_v1(client: TestClient, classifier: Classifier, tmp_path: Path, path: str) -> None:
    assert client.get(f"{path}/").text == client.get(path).text
    assert client.get(f"{path}?x=1").status_code == 422
    assert client.post(path).headers["allow"] == "GET, HEAD"
    key = generate_key()
    (tmp_path / "keys").write_text(f"anna {hash_key(key)}\n")
    with TestClient(create_app([classifier], Settings(api_key_file=tmp_path / "keys"))) as guarded:
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"X-API-Key": key}).status_code == 200


def test_a_draining_server_describes_no_model(classifier: Classifier) -> None:
    app = create_app([classifier], Settings())
    with TestClient(app) as client:
        app.state.server_state.drain()
        assert client.get("/v1/models/caltech101").status_code == 503
