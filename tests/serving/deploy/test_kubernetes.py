"""launch/serve/kubernetes.yaml has only fields that Kubernetes knows, and its parts fit each other and the server."""

import json
import pathlib
from typing import Any

import httpx
import pytest
import yaml

from lob_jax.configs import base
from tests.serving.running import running

ROOT = pathlib.Path(__file__).resolve().parents[3]
FIELDS = yaml.safe_load(pathlib.Path(__file__).with_name("kubernetes_fields.yaml").read_text())
TYPES = {"string": str, "integer": int, "boolean": bool, "integer or string": (int, str)}
OBJECTS = list(yaml.safe_load_all((ROOT / "launch/serve/kubernetes.yaml").read_text()))


def wrong(found: Any, fields: Any, at: str = "") -> list[str]:
    """Return where a document departs from the fields of its kind."""
    if isinstance(fields, list):
        if not isinstance(found, list):
            return [f"{at} is no list"]
        return [text for k, one in enumerate(found) for text in wrong(one, fields[0], f"{at}[{k}]")]
    if isinstance(fields, dict):
        if not isinstance(found, dict):
            return [f"{at} is no object"]
        known = {name.removesuffix("!"): inside for name, inside in fields.items()}
        absent = [f"{at}.{name[:-1]} is absent" for name in fields if name.endswith("!") and name[:-1] not in found]
        inside = {name: known.get(name, known.get("*")) for name in found}
        odd = [f"{at}.{name} is unknown" for name, one in inside.items() if one is None]
        return absent + odd + [t for n, one in inside.items() if one for t in wrong(found[n], one, f"{at}.{n}")]
    if fields.startswith("="):
        return [] if found == fields[1:] else [f"{at} is not {fields[1:]}"]
    fits = isinstance(found, TYPES[fields]) and (fields == "boolean" or not isinstance(found, bool))
    return [] if fits else [f"{at} is not {fields}"]


def by_kind(kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return by_kind("Deployment")["lob-jax"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod) -> dict[str, Any]:
    (one,) = pod["spec"]["containers"]
    return one


def options(container: dict[str, Any]) -> dict[str, str]:
    return dict(word.removeprefix("--config.serve.").split("=", 1) for word in container["args"])


@pytest.mark.parametrize("k", range(len(OBJECTS)), ids=[f"{o['kind']} {o['metadata']['name']}" for o in OBJECTS])
def test_fields_are_those_of_kubernetes(k):
    assert wrong(OBJECTS[k], FIELDS[OBJECTS[k]["kind"]]) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one["spec"].update(replica=2), [".spec.replica is unknown"]),
        (lambda one: one["spec"].pop("selector"), [".spec.selector is absent"]),
        (lambda one: one["spec"].update(replicas="2"), [".spec.replicas is not integer"]),
        (lambda one: one["spec"].update(replicas=True), [".spec.replicas is not integer"]),
        (lambda one: one.update(apiVersion="v1"), [".apiVersion is not apps/v1"]),
        (lambda one: one["spec"]["template"]["spec"].update(volumes={}), [".spec.template.spec.volumes is no list"]),
        (lambda one: one["spec"].update(strategy="none"), [".spec.strategy is no object"]),
    ],
)
def test_other_fields_are_seen(change, says):
    one = json.loads(json.dumps(by_kind("Deployment")["lob-jax"]))
    change(one)
    assert wrong(one, FIELDS["Deployment"]) == says


def test_selectors_match_the_pods(pod):
    labels = pod["metadata"]["labels"].items()
    specs = [
        by_kind(kind)["lob-jax"]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]
    specs += [one["spec"]["selector"] for one in by_kind("Service").values()]
    specs += [one["labelSelector"]["matchLabels"] for one in pod["spec"]["topologySpreadConstraints"]]
    assert len(specs) == 5 and all(spec and spec.items() <= labels for spec in specs)


def test_ports_agree(container):
    (port,) = container["ports"]
    assert options(container)["port"] == str(port["containerPort"])
    probes = [container[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")]
    services = by_kind("Service")
    targets = [one["targetPort"] for service in services.values() for one in service["spec"]["ports"]]
    assert set(probes + targets) == {port["name"]}
    for ingress in by_kind("Ingress").values():
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            service = path["backend"]["service"]
            assert service["port"]["name"] in [one["name"] for one in services[service["name"]]["spec"]["ports"]]


def test_a_pod_has_time_to_drain(pod, container):
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert before + int(options(container)["drain_s"]) < pod["spec"]["terminationGracePeriodSeconds"]


def test_the_keys_are_those_of_the_secret(pod, container):
    keys = pathlib.PurePosixPath(options(container)["keys_file"])
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    assert mounts.keys() == {"/tmp", "/etc/lob-jax"} and {one["name"] for one in mounts.values()} == volumes.keys()
    mounted = volumes[mounts[str(keys.parent)]["name"]]["secret"]
    assert keys.name in by_kind("Secret")[mounted["secretName"]]["stringData"]
    assert mounted["defaultMode"] == 0o440


def test_a_pod_may_do_little(pod, container):
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and pod["spec"]["securityContext"]["runAsUser"] > 0
    assert not pod["spec"]["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() and container["resources"]["limits"]["memory"]


def test_requests_with_the_header_go_to_the_pod_that_it_names():
    plain, sticky = by_kind("Ingress")["lob-jax"], by_kind("Ingress")["lob-jax-sessions"]
    prefix = "nginx.ingress.kubernetes.io/"
    told = {name.removeprefix(prefix): value for name, value in sticky["metadata"]["annotations"].items()}
    assert told["canary"] == "true" and told["canary-by-header"] == "X-Session-Affinity"
    assert told["upstream-hash-by"] == "$http_" + told["canary-by-header"].lower().replace("-", "_")
    assert plain["metadata"]["annotations"][f"{prefix}proxy-buffering"] == "off"
    # A canary is one by host and path, to a service of another name.
    assert {one["metadata"]["name"] for one in (plain, sticky)} == by_kind("Service").keys()
    text = json.dumps(sticky["spec"]).replace("lob-jax-sessions", "lob-jax")
    assert json.loads(text) == plain["spec"]


def test_its_options_are_settings_of_a_server(container):
    assert container["command"] == ["python", "-m", "lob_jax.main", "--mode=serve"]
    assert options(container).keys() <= set(base.get_config().serve.keys())


def test_the_server_answers_probes_and_the_ingress_leads_to_all_other_routes(container):
    with running() as server, httpx.Client(base_url=server.url) as client:
        for name in ("startup", "readiness", "liveness"):
            assert client.get(container[f"{name}Probe"]["httpGet"]["path"]).status_code == 200
        described = client.get("/openapi.json", headers={"Authorization": f"Bearer {server.key}"}).json()
    rules = by_kind("Ingress")["lob-jax"]["spec"]["rules"][0]["http"]["paths"]
    found = {path for path in [*described["paths"], "/openapi.json"] if any(leads(rule, path) for rule in rules)}
    inside = ("/metrics", "/health/")  # of one pod
    assert {path for path in described["paths"] if path not in found and not path.startswith(inside)} == set()


def leads(rule: dict[str, Any], path: str) -> bool:
    """Return whether a rule of an ingress takes a path; prefixes are of whole parts of a path."""
    prefix = rule["path"].rstrip("/")
    return path == rule["path"] or (rule["pathType"] == "Prefix" and f"{path}/".startswith(f"{prefix}/"))
