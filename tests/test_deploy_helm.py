"""deploy/helm, rendered by Go's text/template as Helm does, gives the objects of deploy/'s other files."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from test_deploy_kubernetes import DEPLOY, OBJECTS, VERSION, read

from tencrop.training.recipe_table import merge

CHART = DEPLOY / "helm"
PROGRAM = Path(__file__).parent / "support" / "helm_template.go"
(DEFAULTS,) = read("helm/values.yaml")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
EVERYTHING = {"autoscale": {"enabled": True}, "networkPolicy": {"enabled": True}}

Objects = dict[str, dict[str, Any]]  # by kind
Render = Callable[[dict[str, Any]], Objects]

needs_go = pytest.mark.skipif(not shutil.which("go"), reason="needs Go: apt-get install golang-go")


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """A function that renders the chart as the release `tencrop` with these values."""
    program = tmp_path_factory.mktemp("go") / "render"
    subprocess.run(["go", "build", "-o", program, PROGRAM], check=True)
    (chart,) = read("helm/Chart.yaml")

    def run(values: dict[str, Any]) -> Objects:
        merged = merge(DEFAULTS, values)  # nested tables, and the user's values win: as Helm does
        jsonschema.validate(merged, SCHEMA)
        context = {
            "Values": merged,
            "Release": {"Name": "tencrop"},
            "Chart": {"Name": chart["name"], "AppVersion": chart["appVersion"]},
        }
        texts = [
            subprocess.run([program, path], input=json.dumps(context).encode(), check=True, capture_output=True).stdout
            for path in sorted((CHART / "templates").glob("*.yaml"))
        ]
        made = {each["kind"]: each for text in texts if (each := yaml.safe_load(text))}
        for each in made.values():
            kubernetes_validate.validate(each, VERSION, strict=True)
        return made

    return run


@needs_go
@pytest.mark.slow  # Go compiles the engine of the templates
def test_the_chart_gives_the_objects_of_the_other_files(render: Render) -> None:
    made = render({})
    assert made == {kind: OBJECTS[kind] for kind in ("Deployment", "PodDisruptionBudget", "Service")}
    scaled = render(EVERYTHING)
    assert scaled["Deployment"]["spec"].pop("replicas", None) is None  # the autoscaler decides
    own = {key: value for key, value in OBJECTS["Deployment"]["spec"].items() if key != "replicas"}
    assert scaled == {**OBJECTS, "Deployment": {**OBJECTS["Deployment"], "spec": own}}


@needs_go
@pytest.mark.slow
def test_values_reach_the_deployment(render: Render) -> None:
    digest = "sha256:" + "0a" * 32
    resources = {"limits": {"cpu": "4", "memory": "4Gi", "nvidia.com/gpu": 1}}
    values = {
        "image": {"repository": "registry.example/tencrop", "digest": digest},
        "args": ["serve", "--device", "cuda"],
        "env": {"TENCROP_QUEUE_VIEWS": "320", "TENCROP_DOCS": "false"},
        "keysSecret": "",
        "drainSeconds": 45,
        "resources": resources,
    }
    spec = render(values)["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == f"registry.example/tencrop@{digest}"
    assert container["args"] == values["args"]
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "TENCROP_DRAIN_SECONDS": "45",
        "TENCROP_QUEUE_VIEWS": "320",
        "TENCROP_DOCS": "false",
    }
    assert container["resources"]["limits"] == resources["limits"]
    assert [each["name"] for each in (*spec["volumes"], *container["volumeMounts"])] == ["tmp", "tmp"]
    assert spec["terminationGracePeriodSeconds"] == 65


@pytest.mark.parametrize(
    "mistake",
    [
        {"replica": 3},
        {"replicas": 0},
        {"image": {"digest": "0a"}},
        {"env": {"TENCROP_QUEUE_VIEWS": 320}},
        {"autoscale": {"minReplicas": "2"}},
        {"networkPolicy": {"enabled": "yes"}},
    ],
    ids=lambda mistake: str(next(iter(mistake))),
)
def test_a_mistake_in_the_values_is_told(mistake: dict[str, Any]) -> None:
    jsonschema.validate(DEFAULTS, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merge(DEFAULTS, mistake), SCHEMA)
