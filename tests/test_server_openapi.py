"""The OpenAPI document is whole, other tools read it, and no request that nearly fits it is answered by a 500."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import response_schema_conformance
from serving import run_server
from support.registries import find_npm, install_from_pypi

from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.openapi import iter_operations
from tencrop.server.settings import Settings

EXAMPLES = 25  # of each operation
ERRORS = {"/v1": "Failure", "/v2": "ProtocolFailure"}  # the schema of an error, by the start of the path
NPM = {  # tools that read openapi.json, of npm: package and arguments
    "openapi-typescript": "openapi-typescript@7.13.0 openapi.json --output openapi.ts",
    "redocly": "@redocly/cli@2.77.0 lint openapi.json",
}
PYTHON_CLIENT = "openapi-python-client==0.29.1"
NO_REPORTS = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def make_document(classifier: Classifier, **options: Any) -> dict[str, Any]:
    document = create_app([classifier], Settings(**options)).openapi()
    return dict(json.loads(json.dumps(document)))


@pytest.fixture(scope="module")
def document(classifier: Classifier) -> dict[str, Any]:
    """The document of a server without keys."""
    return make_document(classifier)


@pytest.fixture(scope="module")
def guarded(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a server with keys, below a sub-path."""
    keys = tmp_path_factory.mktemp("openapi") / "keys"
    keys.write_text(f"anna {hash_key(generate_key())}\n")
    return make_document(classifier, api_key_file=keys, root_path="/nets")


@pytest.mark.parametrize("kind", ["document", "guarded"])
def test_the_document_is_valid_openapi(kind: str, request: pytest.FixtureRequest) -> None:
    document = request.getfixturevalue(kind)
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = list(find_references(document))
    assert "#/components/schemas/HubParameters" in references and len(references) > 100
    for reference in references:
        node: Any = document
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]


def find_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from find_references(each)


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in iter_operations(document)]
    assert len(set(names)) == len(names)
    assert {"predict", "predict_batch", "image_classification", "get_model", "infer", "list_validations"} <= set(names)
    assert not [name for name in names if "_v1" in name or "_v2" in name]


def test_every_error_has_the_form_of_its_interface(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        reference = f"#/components/schemas/{ERRORS.get(path[:3], 'Failure')}"
        for operation in operations.values():
            errors = {status: answer for status, answer in operation["responses"].items() if status[0] in "45"}
            assert {"4XX", "500", "5XX"} <= set(errors)
            for answer in errors.values():
                assert answer["content"]["application/json"]["schema"] == {"$ref": reference}


def test_every_body_of_images_may_be_binary(document: dict[str, Any]) -> None:
    routes = ("/v1/predict", "/v1/features", "/v1/neighbours", "/v1/image-classification", "/v2/models/{name}/infer")
    for path in routes:
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert content["application/octet-stream"]["schema"]["format"] == "binary"


def test_keys_are_described_where_they_are_asked_for(document: dict[str, Any], guarded: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": "/"}] and guarded["servers"] == [{"url": "/nets"}]
    assert "securitySchemes" not in document["components"]
    assert set(guarded["components"]["securitySchemes"]) == {"bearer", "header"}
    for operation in iter_operations(document):
        assert "security" not in operation and "401" not in operation["responses"]
    for path, operations in guarded["paths"].items():
        is_free = path in ("/healthz", "/readyz") or path.startswith("/v2/health")
        for operation in operations.values():
            assert operation.get("security") == (None if is_free else [{"bearer": []}, {"header": []}])
            assert ("401" in operation["responses"]) == (not is_free)


def run_tool(folder: Path, document: dict[str, Any], *command: str, **variables: str) -> None:
    """Run a command in a folder that holds openapi.json. It must accept the document without a warning."""
    (folder / "openapi.json").write_text(json.dumps(document))
    result = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0 and "Warning was" not in result.stderr, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tool", NPM)
def test_tools_of_npm_read_the_document(tool: str, guarded: dict[str, Any], tmp_path: Path) -> None:
    package, *arguments = NPM[tool].split()
    npx = [find_npm(package), "exec", "--yes", "--", package]
    run_tool(tmp_path, guarded, *npx, *arguments, **NO_REPORTS)


@pytest.mark.slow
def test_a_client_in_python_is_generated(guarded: dict[str, Any], tmp_path: Path) -> None:
    """In an environment of its own, as it wants other versions than the tests."""
    programs = install_from_pypi(tmp_path / "env", PYTHON_CLIENT)
    path = f"{programs}:{os.environ['PATH']}"  # it calls ruff
    command = "generate --path openapi.json --output-path client --meta none --fail-on-warning"
    run_tool(tmp_path, guarded, str(programs / "openapi-python-client"), *command.split(), PATH=path)


@pytest.fixture(scope="module")
def served(null_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The document of a process that serves a model that answers at once, validations included."""
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "data").mkdir()
    options = ("--data-root", str(folder / "data"), "--state-dir", str(folder / "state"))
    with run_server(str(null_model), *options) as (process, url):
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")
        assert process.poll() is None


@pytest.mark.slow
def test_no_request_breaks_the_server_or_gets_an_undocumented_answer(served: BaseSchema) -> None:
    for result in served.get_all_operations():
        assert isinstance(result, Ok)

        @given(case=result.ok().as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def asked(case: Case[Any]) -> None:
            response = case.call_and_validate(checks=[not_a_server_error, response_schema_conformance])
            assert str(response.status_code) in case.operation.definition.raw["responses"]

        asked()
