"""The manifests: valid for the newest API servers, safe to apply twice, restricted, closed but for
the flow table.
"""

import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.edge.config import EdgeSettings
from shared import config
from tests.deploy.rendered import (
    K8S,
    OURS,
    RENDERED,
    ROOT,
    WORKLOADS,
    containers,
    manifests,
    of_kind,
    pod,
    text,
    workload,
)
from tools import k8s_secrets, make_nats_conf

BUILT_IN = {
    "Namespace", "ConfigMap", "Service", "Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Ingress",
    "HorizontalPodAutoscaler",
}  # fmt: skip
FLOWS = ROOT / "docs" / "kubernetes.md"


def newest_versions(count: int = 3) -> list[str]:
    names = [
        path.name
        for path in importlib.resources.files("kubernetes_validate").joinpath("kubernetes-json-schema").iterdir()
    ]
    found = {tuple(map(int, match.groups())) for name in names if (match := re.match(r"v?(\d+)\.(\d+)", name))}
    return [f"{major}.{minor}" for major, minor in sorted(found)[-count:]]


@pytest.mark.parametrize("name", RENDERED)
def test_valid_for_the_three_newest_versions(name: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(text(name))
    binary = Path(sys.executable).with_name("kubernetes-validate")
    versions = newest_versions()
    assert len(versions) == 3
    for version in versions:
        done = subprocess.run([str(binary), "--strict", "-k", version, str(file)], capture_output=True, text=True)
        assert done.returncode == 0, (version, done.stdout + done.stderr)


@pytest.mark.parametrize("name", RENDERED)
def test_no_crd_no_job_no_secret_everything_in_one_namespace(name: str) -> None:
    kinds = {each["kind"] for each in manifests(name)}
    assert kinds <= BUILT_IN, "an absent CRD, and a Job's immutable template, both fail the second apply"
    for each in manifests(name):
        wanted = None if each["kind"] == "Namespace" else "tollgate"
        assert each["metadata"].get("namespace") == wanted
    keys = [(each["kind"], each["metadata"]["name"]) for each in manifests(name)]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", RENDERED)
def test_a_second_apply_with_another_tag_touches_nothing_immutable(name: str, tmp_path: Path) -> None:
    """What may change in a StatefulSet is its replicas, its template, and few things more; a
    selector never.
    """
    overlay = tmp_path / "again"
    overlay.mkdir()
    relative = Path(*[".."] * len(tmp_path.parts)) / "x"
    assert relative
    from tests.deploy.rendered import kubectl

    image = workload(name, "edge")["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[0]
    (overlay / "all.yaml").write_text(text(name))
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["all.yaml"], "images": [{"name": image, "newTag": "another"}]})
    )
    again = [each for each in yaml.safe_load_all(kubectl("kustomize", str(overlay))) if each]
    before = {(each["kind"], each["metadata"]["name"]): each for each in manifests(name)}
    changed = 0
    for each in again:
        old = before.pop((each["kind"], each["metadata"]["name"]))
        if each["kind"] in WORKLOADS:
            changed += each["spec"]["template"] != old["spec"]["template"]
            each["spec"].pop("template"), (old := {**old, "spec": {**old["spec"]}})["spec"].pop("template")
        assert each == old
    assert before == {} and changed == len(OURS)


@pytest.mark.parametrize("name", RENDERED)
def test_every_pod_meets_the_restricted_standard(name: str) -> None:
    (namespace,) = of_kind(name, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    seen = 0
    for _, spec, container in containers(name):
        seen += 1
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True and context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["securityContext"]["runAsUser"] > 0 and spec["securityContext"]["runAsNonRoot"] is True
        assert not any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC"))
        assert spec["automountServiceAccountToken"] is False
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
        assert set(container["resources"]) == {"requests", "limits"}
        assert not any("hostPort" in port for port in container["ports"])
    assert seen >= 5


@pytest.mark.parametrize("name", RENDERED)
def test_every_workload_has_its_probes_and_a_disruption_budget(name: str) -> None:
    budgets = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for each in of_kind(name, "PodDisruptionBudget")
    }
    assert budgets == {each["metadata"]["name"] for each in of_kind(name, *WORKLOADS)}
    for owner, _, container in containers(name):
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe].get("httpGet")
            if owner in OURS:
                assert asked is not None
                assert (asked["path"], asked["port"]) == ("/ready" if probe == "readinessProbe" else "/live", "probes")
            assert asked is None or asked["port"] in ports
    for owner in OURS:
        assert "topologySpreadConstraints" in pod(workload(name, owner))


@pytest.mark.parametrize("name", RENDERED)
def test_an_edge_may_finish_the_longest_stream(name: str) -> None:
    spec = pod(workload(name, "edge"))
    (container,) = spec["containers"]
    drain_ms = int(next(each["value"] for each in container["env"] if each["name"] == "TOLLGATE_EDGE_DRAIN_MS"))
    longest_ms = max(
        deployment.timeout_ms for deployment in config.load(str(K8S / "base/config.yaml"), KEY).deployments
    )
    assert drain_ms >= longest_ms and drain_ms >= EdgeSettings().edge_drain_ms
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert spec["terminationGracePeriodSeconds"] * 1000 >= drain_ms + 5_000 + 30_000, "and flush what it knows"


KEY = {"LITELLM_MASTER_KEY": "sk-for-a-test-0123456789"}


@pytest.mark.parametrize("name", RENDERED)
def test_secrets_are_named_and_each_service_gets_only_its_own(name: str) -> None:
    tls = name.endswith("production")
    made = k8s_secrets.values({}, tls=tls, database_url="")
    for owner, spec, container in containers(name):
        refs = [
            each["valueFrom"]["secretKeyRef"]
            for each in container["env"]
            if "secretKeyRef" in each.get("valueFrom", {})
        ]
        for ref in refs:
            assert ref["key"] in made[ref["name"]], "make k8s-secrets makes every key that is asked for"
            others = {f"tollgate-{other}" for other in (*OURS, "nats", "postgres") if other != owner}
            assert ref["name"] not in others
        for each in container.get("envFrom", []):
            assert each["secretRef"]["optional"] is True
        for volume in spec["volumes"]:
            assert volume.get("secret", {}).get("secretName", "tollgate-tls") == "tollgate-tls"
        assert not any(
            re.search(r"password|secret|token", each["name"], re.I) and "value" in each for each in container["env"]
        )
    with_master = {
        owner for owner, _, container in containers(name) if "tollgate-master-key" in str(container["env"])
    }  # fmt: skip
    assert with_master == {"edge", "policy"}
    sealing = {owner for owner, _, container in containers(name) if "tollgate-sealing-key" in str(container["env"])}
    assert sealing == {"edge", "policy", "ledger"}


def test_secrets_once_made_stay_and_fit_together() -> None:
    first = k8s_secrets.values({}, tls=False, database_url="")
    again = k8s_secrets.values(first, tls=True, database_url="postgresql://mine@db/x")
    assert (
        again["tollgate-nats"] == first["tollgate-nats"]
        and again["tollgate-master-key"] == first["tollgate-master-key"]
        and again["tollgate-sealing-key"] == first["tollgate-sealing-key"]
    )
    assert again["tollgate-ledger"]["database-url"] == "postgresql://mine@db/x"
    assert k8s_secrets.values(again, tls=True, database_url="")["tollgate-ledger"] == again["tollgate-ledger"]
    for service in OURS:
        assert (
            first[f"tollgate-{service}"]["nats-url"] == f"nats://{service}:{first['tollgate-nats'][service]}@nats:4222"
        )
        urls = again[f"tollgate-{service}"]["nats-url"].split(",")
        assert urls == [f"tls://{service}:{first['tollgate-nats'][service]}@nats-{n}.nats:4222" for n in range(3)]
    passwords = [*first["tollgate-nats"].values(), first["tollgate-postgres"]["password"]]
    assert len(set(passwords)) == len(passwords) and all(re.fullmatch(r"p[0-9a-f]{48}", each) for each in passwords)


def test_nothing_secret_is_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/k8s/secrets/" in ignored
    listed = subprocess.run(["git", "ls-files", "deploy"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "deploy/k8s/secrets" not in listed


def test_the_brokers_configuration_is_the_tables() -> None:
    for name, tree in make_nats_conf.FILES.items():
        assert (ROOT / "deploy" / name).read_text() == make_nats_conf.text(tree), "run tools/make_nats_conf.py"


def test_a_cluster_has_three_replicas_of_everything() -> None:
    assert workload("overlays/production", "nats")["spec"]["replicas"] == 3
    for owner in ("policy", "ledger"):
        env = {
            each["name"]: each.get("value")
            for each in pod(workload("overlays/production", owner))["containers"][0]["env"]
        }
        assert env["TOLLGATE_STREAM_REPLICAS"] == "3"
    for owner in OURS:
        assert "TOLLGATE_NATS_CA_FILE" in str(pod(workload("overlays/production", owner)))
    assert not [each for each in manifests("overlays/production") if each["metadata"]["name"] == "postgres"]


def test_what_checkov_is_not_asked_has_its_reason_in_the_docs() -> None:
    left_out = yaml.safe_load((ROOT / ".checkov.yaml").read_text())["skip-check"]
    assert re.findall(r"^\| (CKV_\w+),", FLOWS.read_text(), re.M) == left_out


Flow = tuple[str, str, int]


def table(heading: str) -> set[Flow]:
    """The rows of the flow table behind a heading of docs/kubernetes.md."""
    section = FLOWS.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z]+) \| ([a-z]+) \| (\d+) \|", section, re.M)
    assert rows, heading
    return {(source, target, int(port)) for source, target, port in rows}


def peer(each: dict[str, dict[str, object]]) -> str:
    if "ipBlock" in each:
        return "outside"
    if "namespaceSelector" in each:
        labels = each["namespaceSelector"]["matchLabels"]
        return {"monitoring": "monitoring", "kube-system": "dns"}[labels["kubernetes.io/metadata.name"]]
    return str(each["podSelector"]["matchLabels"]["app.kubernetes.io/name"])


def allowed(name: str) -> tuple[set[Flow], set[Flow]]:
    """What the policies let out, and let in."""
    out: set[Flow] = set()
    into: set[Flow] = set()
    for policy in of_kind(name, "NetworkPolicy"):
        if policy["metadata"]["name"] == "default-deny":
            continue
        owner = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in policy["spec"].get("egress", []):
            out |= {(owner, peer(each), port["port"]) for each in rule["to"] for port in rule["ports"]}
        for rule in policy["spec"].get("ingress", []):
            sources = [peer(each) for each in rule["from"]] if "from" in rule else ["anybody"]
            into |= {(source, owner, port["port"]) for source in sources for port in rule["ports"]}
    return out, into


@pytest.mark.parametrize("name", RENDERED)
def test_the_network_is_closed_but_for_the_flow_table(name: str) -> None:
    (closed,) = [each for each in of_kind(name, "NetworkPolicy") if each["metadata"]["name"] == "default-deny"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    flows = table("Who talks to whom")
    if name.endswith("production"):
        flows = flows | table("With three brokers") - {("ledger", "postgres", 5432)} | {("ledger", "outside", 5432)}
        flows -= {("ledger", "postgres", 5432)}
    out, into = allowed(name)
    outside = {"anybody", "monitoring"}
    assert out == {flow for flow in flows if flow[0] not in outside}
    assert into == {flow for flow in flows if flow[1] not in ("outside", "dns")}


@pytest.mark.parametrize("name", RENDERED)
def test_what_the_services_listen_on_is_what_the_policies_name(name: str) -> None:
    ports = {owner: {port["containerPort"] for port in container["ports"]} for owner, _, container in containers(name)}
    _, into = allowed(name)
    for owner, open_ports in ports.items():
        assert {port for _, target, port in into if target == owner} == open_ports
