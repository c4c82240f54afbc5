"""Dockerfile, deploy/ and docs/operations.md name this server's metrics, routes, settings, flags and packages."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from serving import run_server
from typer.main import get_command

from tencrop.cli import app as command_line
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
OBJECTS = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")))
TARGET = {"job", "instance"}  # labels that Prometheus adds; it makes the metric `up` itself
ROW = re.compile(rf"^\| `({PREFIX}\w+)` \| (?:`(--[\w-]+)`)? *\| (\S+)", re.MULTILINE)  # a row of the table of settings


@pytest.fixture(scope="module")
def client(classifier: Classifier, photographs: dict[str, Path]) -> Iterator[TestClient]:
    with TestClient(create_app([classifier], Settings())) as client:
        assert client.post("/v1/predict", content=photographs["china"].read_bytes()).status_code == 200
        yield client


@pytest.fixture(scope="module")
def exported_metrics(client: TestClient) -> dict[str, set[str]]:
    """Names of the samples in /metrics -> names of their labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples} | {"up": set()}


def queries() -> list[tuple[str, str]]:
    """Every PromQL query of dashboard, alerts and page, with the text that shows its labels."""
    of_panels = [
        (target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
    ]
    of_alerts = [
        (rule["expr"], rule["annotations"]["summary"].replace("$labels.", "").replace("$value", "")) for rule in ALERTS
    ]
    asked = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    of_variables = [re.fullmatch(r"label_values\((.+), (\w+)\)", query) for query in asked]
    shown = [(found[1], f"{{{{{found[2]}}}}}") for found in of_variables if found]
    examples = [(query, "") for query in re.findall(r"```promql\n(.*?)```", OPERATIONS, re.DOTALL)[0].splitlines()]
    assert len(of_panels) > 12 and len(shown) == len(asked) and len(examples) > 3
    return of_panels + of_alerts + shown + examples


@pytest.mark.parametrize(("query", "shown"), queries())
def test_query_asks_for_metrics_that_the_server_exports(
    query: str, shown: str, exported_metrics: dict[str, set[str]]
) -> None:
    selected = re.findall(r"(\w+)\{([^}]*)\}", query)
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(", ")}
    bare = re.sub(r'\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)|"[^"]*"|\bor\b|#.*', " ", query)
    names = set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare))  # a bracket follows the name of a function
    assert names and names <= set(exported_metrics)
    for name, selectors in selected:
        assert set(re.findall(r"(\w+)\s*[=!]", selectors)) <= exported_metrics[name] | TARGET
    labels = set().union(*(exported_metrics[name] for name in names)) | TARGET
    assert grouped <= labels and set(re.findall(r"\{\{ ?(\w+) ?\}\}", shown)) <= (grouped or labels)


def test_seconds_per_prediction_are_those_of_every_route_that_predicts(client: TestClient) -> None:
    app: Any = client.app
    every = [route for part in app.routes for route in getattr(part, "original_router", app).routes]
    routes = [route for route in every if isinstance(route, APIRoute) and "POST" in (route.methods or ())]
    predicting = {
        route.path for route in routes if {"predict", "features"} & set(route.tags) or route.path.endswith("/infer")
    }
    assert {"/", "/v1/predict/batch"} < predicting
    patterns = {
        found[1]
        for query, _ in queries()
        for found in re.finditer(r'tencrop_request_seconds_bucket\{[^}]*method="POST", route=~"([^"]+)"', query)
    }
    (pattern,) = patterns
    assert {route.path for route in routes if re.fullmatch(pattern, route.path)} == predicting


def test_dashboard_takes_its_data_source_from_a_variable() -> None:
    sources = [part["datasource"] for panel in DASHBOARD["panels"] for part in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert DASHBOARD["templating"]["list"][0] == {"name": "datasource", "type": "datasource", "query": "prometheus"}
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_image_holds_every_package() -> None:
    copied = [
        words[:-1]
        for words in (line.split()[1:] for line in DOCKERFILE.splitlines() if re.match("COPY (?!--from)", line))
    ]
    sources = {name for names in copied for name in names}
    rooms = {link.name for link in (ROOT / "tencrop").iterdir() if link.is_symlink()}
    files = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE"}
    assert rooms | files | {"tencrop"} == sources
    assert all((ROOT / name).exists() for name in sources)
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert context[0] == "*" and sources <= {line.removeprefix("!") for line in context if line.startswith("!")}


def environment() -> dict[str, str]:
    """The environment variables of the image."""
    (pairs,) = re.findall(r"^ENV (.*)", DOCKERFILE, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in pairs.split())


@pytest.mark.slow
def test_health_check_follows_the_server_which_reports_to_nobody(null_model: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"^HEALTHCHECK .*?CMD (.*)", DOCKERFILE, re.MULTILINE)
    command = [sys.executable, *json.loads(text)[1:]]
    image = environment() | {
        "HOME": str(tmp_path),
        "TENCROP_STATE_DIR": str(tmp_path / "state"),
        "TENCROP_HOST": "127.0.0.1",
    }
    runs = {key: value for key, value in os.environ.items() if key != "CI"} | image  # under CI no library reports
    with run_server(str(null_model), **runs) as (server, url):
        checked = runs | {"TENCROP_PORT": url.rpartition(":")[2]}
        up = subprocess.run(command, env=checked, timeout=20, check=False).returncode
        server.terminate()
        assert server.wait(timeout=30) == 0
    down = subprocess.run(command, env=checked, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode
    assert (up, down) == (0, 1)
    assert not list(tmp_path.rglob("*onnxruntime*"))


def pod() -> dict[str, Any]:
    (deployment,) = (each for each in OBJECTS if each["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def test_probes_ask_for_routes_that_answer(client: TestClient) -> None:
    (container,) = pod()["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": Settings.model_fields["port"].default}
    paths = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: get["path"] for kind, get in paths.items()} == {
        "startup": "/healthz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    for get in paths.values():
        assert get["port"] in ports and client.get(get["path"]).status_code == 200


def test_pod_has_the_time_to_drain() -> None:
    (container,) = pod()["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) + int(given["TENCROP_DRAIN_SECONDS"]) + 5 < pod()["terminationGracePeriodSeconds"]


def test_pod_gives_settings_that_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = pod()["containers"]
    services = [each["metadata"]["name"].upper() for each in OBJECTS if each["kind"] == "Service"]
    links = {f"{name}_PORT": "tcp://10.0.0.1:80" for name in services} | {
        f"{name}_SERVICE_HOST": "10.0.0.1" for name in services
    }
    given = links if pod().get("enableServiceLinks", True) else {}
    for name, value in (given | environment() | {each["name"]: each["value"] for each in container["env"]}).items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.host == "0.0.0.0" and settings.api_key_file
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    secrets = {volume["name"] for volume in pod()["volumes"] if "secret" in volume}
    assert mounts[str(settings.api_key_file.parent)] in secrets and environment()["HOME"] in mounts


def test_pod_is_unprivileged_as_the_image_is() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    own, around = pod()["containers"][0]["securityContext"], pod()["securityContext"]
    assert (
        around["runAsNonRoot"]
        and (around["runAsUser"], around["runAsGroup"]) == tuple(map(int, user))
        and "0" not in user
    )
    assert (
        own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"] and own["capabilities"]["drop"] == ["ALL"]
    )


def test_selectors_find_the_pods() -> None:
    by_kind = {each["kind"]: each for each in OBJECTS}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        by_kind["Service"]["spec"]["selector"],
        by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/kubernetes.yaml", "docs/operations.md"])
def test_variables_are_settings(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(rf"\b({PREFIX}\w+)\b", re.sub("#.*", "", text) if name.endswith("yaml") else text))
    assert named and named <= {(PREFIX + field).upper() for field in Settings.model_fields}


def test_operations_names_every_setting_once_with_its_flag_and_default() -> None:
    rows = ROW.findall(OPERATIONS)
    serve = get_command(command_line).commands["serve"]  # type: ignore[attr-defined]
    flags = {name for parameter in serve.params for name in parameter.opts}
    fields = Settings.model_fields
    assert sorted(name for name, _, _ in rows) == sorted((PREFIX + field).upper() for field in fields)
    for name, flag, default in rows:
        field = name.removeprefix(PREFIX).lower()
        assert flag == (f"--{field.replace('_', '-')}" if f"--{field.replace('_', '-')}" in flags else "")
        value = fields[field].default
        written = {None: "none", "": "none", True: "true", False: "false"}
        assert default == (written[value] if value in (None, "") or isinstance(value, bool) else str(value))


def test_operations_explains_every_alert() -> None:
    assert [rule["alert"] for rule in ALERTS] == re.findall(r"^\| `(Tencrop\w+)` ", OPERATIONS, re.MULTILINE)


def test_the_proxys_rule_hides_every_path_of_the_metrics(classifier: Classifier) -> None:
    found = re.search(r"location ~ (\S+) \{ return 404; \}", OPERATIONS)
    assert found
    with TestClient(create_app([classifier], Settings(root_path="/nets"))) as client:
        for path in ("/metrics", "/metrics/", "/nets/metrics", "/nets/metrics/"):
            assert client.get(path).status_code == 200 and re.search(found[1], path)
        for path in ("/", "/docs", "/nets/v2", "/v1/validations", "/page/page.js"):
            assert not re.search(found[1], path)
