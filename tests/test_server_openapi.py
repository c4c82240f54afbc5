"""Requests that fit the OpenAPI document, or nearly fit it, are answered, and never by a 500."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import response_schema_conformance
from serving import run_server

EXAMPLES = 25  # of each operation


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The document of a process that serves the embedded model, validations included."""
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "data").mkdir()
    with run_server("--data-root", str(folder / "data"), "--state-dir", str(folder / "state")) as (process, url):
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")
        assert process.poll() is None


@pytest.mark.slow
def test_no_request_breaks_the_server(document: BaseSchema) -> None:
    for result in document.get_all_operations():
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
            case.call_and_validate(checks=[not_a_server_error, response_schema_conformance])

        asked()
