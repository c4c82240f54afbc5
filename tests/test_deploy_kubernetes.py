"""The Kubernetes objects of deploy/ fit the schemas of Kubernetes and agree with each other."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

DEPLOY = Path(__file__).parents[1] / "deploy"
VERSION = "1.37"  # of Kubernetes


def read(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


FILES = ("kubernetes.yaml", "autoscale.yaml", "network-policy.yaml")
OBJECTS = {each["kind"]: each for name in FILES for each in read(name)}
RUNTIME, SERVICE = read("kserve.yaml")
(RULE,) = read("prometheus-adapter.yaml")[0]["rules"]["custom"]


def as_pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tencrop"}, "spec": spec}


@pytest.mark.parametrize("kind", sorted(OBJECTS))
def test_an_object_fits_its_schema(kind: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**OBJECTS[kind], "spec": {"nothing": 1}}, VERSION, strict=True)


def test_kserves_container_is_that_of_the_deployment() -> None:
    (container,) = RUNTIME["spec"]["containers"]
    kubernetes_validate.validate(as_pod({"containers": [container]}), VERSION, strict=True)
    (own,) = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert [container[key] for key in ("image", "resources")] == [own[key] for key in ("image", "resources")]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        port = {"httpGet": {**own[name]["httpGet"], "port": own["ports"][0]["containerPort"]}}
        assert container[name] == {**own[name], **port}
    predictor, pod = SERVICE["spec"]["predictor"], OBJECTS["Deployment"]["spec"]["template"]["spec"]
    assert predictor["model"]["runtime"] == RUNTIME["metadata"]["name"]
    assert predictor["enableServiceLinks"] == pod["enableServiceLinks"]


def test_the_autoscaler_reads_the_metric_of_the_rule() -> None:
    spec, deployment = OBJECTS["HorizontalPodAutoscaler"]["spec"], OBJECTS["Deployment"]
    assert RULE["seriesQuery"].startswith(spec["metrics"][0]["pods"]["metric"]["name"] + "{")
    assert spec["scaleTargetRef"] == {key: deployment[key] for key in ("apiVersion", "kind")} | {
        "name": deployment["metadata"]["name"]
    }
    assert spec["minReplicas"] == deployment["spec"]["replicas"]


def test_the_network_policy_is_of_the_pods() -> None:
    spec, template = OBJECTS["NetworkPolicy"]["spec"], OBJECTS["Deployment"]["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (own,) = template["spec"]["containers"]
    assert spec["ingress"][0]["ports"][0]["port"] in [port["name"] for port in own["ports"]]
    assert spec["egress"] == []
