"""Applied to a real API server nothing is refused, and nothing waits for what never comes, first
and every time after. See api_server.py.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from services.ledger.config import LedgerSettings
from tests.deploy import api_server
from tests.deploy.rendered import RENDERED, manifests, pod, workload
from tools import k8s_secrets

Manifests = list[dict[str, Any]]


@pytest.mark.parametrize("name", RENDERED)
def test_nothing_is_refused_or_left_waiting(name: str) -> None:
    assert api_server.faults(manifests(name)) == []


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(RENDERED, 2)))
def test_one_overlay_may_follow_another_in_a_namespace(before: str, after: str) -> None:
    assert api_server.refused_changes(manifests(before), manifests(after)) == []


@pytest.mark.parametrize("name", RENDERED)
def test_the_streams_have_room_on_the_brokers_disk(name: str) -> None:
    """A full stream is refused with a sentence; a full disk breaks the broker."""
    (claim,) = workload(name, "nats")["spec"]["volumeClaimTemplates"]
    settings = LedgerSettings()
    most = settings.traffic_stream_bytes_max + settings.payload_stream_bytes_max
    assert most * 2 < api_server.amount(claim["spec"]["resources"]["requests"]["storage"])


@pytest.mark.parametrize("tls", [False, True])
def test_secrets_are_as_an_api_server_takes_them(tls: bool) -> None:
    for each in k8s_secrets.manifests(k8s_secrets.values({}, tls=tls, database_url=""), "tollgate"):
        assert api_server.SUBDOMAIN.fullmatch(each["metadata"]["name"])
        assert all(
            api_server.VARIABLE.fullmatch(key) and isinstance(value, str) for key, value in each["stringData"].items()
        )
        assert len(str(each)) < api_server.CONFIG_MAP_BYTES_MAX


def of(found: Manifests, kind: str, name: str) -> dict[str, Any]:
    return next(each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))


def container(found: Manifests) -> dict[str, Any]:
    """The edge's."""
    only: dict[str, Any]
    (only,) = pod(of(found, "StatefulSet", "edge"))["containers"]
    return only


BREAKS: dict[str, Callable[[Manifests], object]] = {
    "a port's name too long": lambda m: container(m)["ports"][0].update(name="a-port-of-clients"),
    "a port twice": lambda m: container(m)["ports"].append({"name": "again", "containerPort": 4000}),
    "a probe of no port": lambda m: container(m)["startupProbe"]["httpGet"].update(port="probe"),
    "a variable twice": lambda m: container(m)["env"].append({"name": "TOLLGATE_EDGE_HOST", "value": "::"}),
    "a variable that is a number": lambda m: container(m)["env"].append({"name": "N", "value": 3}),
    "a mount of nothing": lambda m: container(m)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
    "more requested than its limit": lambda m: container(m)["resources"]["requests"].update(memory="1Gi"),
    "root": lambda m: container(m)["securityContext"].update(runAsUser=0),
    "a capability": lambda m: container(m)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    "escalation": lambda m: container(m)["securityContext"].pop("allowPrivilegeEscalation"),
    "a ConfigMap that isn't there": lambda m: pod(of(m, "Deployment", "policy"))["volumes"][0]["configMap"].update(
        name="tollgate-config"
    ),
    "a host's directory": lambda m: pod(of(m, "Deployment", "policy"))["volumes"].append(
        {"name": "h", "hostPath": {"path": "/"}}
    ),
    "a label's value": lambda m: of(m, "Service", "edge")["metadata"]["labels"].update(version="a b"),
    "a Service of nobody": lambda m: of(m, "Service", "edge")["spec"].update(selector={"app": "edge"}),
    "a Service's port of nobody": lambda m: of(m, "Service", "edge")["spec"]["ports"][0].update(targetPort="htp"),
    "a StatefulSet without its Service": lambda m: of(m, "StatefulSet", "edge")["spec"].update(serviceName="edge"),
    "a selector of others": lambda m: of(m, "Deployment", "policy")["spec"]["selector"].update(
        matchLabels={"app.kubernetes.io/part-of": "tollgate"}
    ),
    "a budget for nobody": lambda m: of(m, "PodDisruptionBudget", "edge")["spec"]["selector"].update(
        matchLabels={"a": "b"}
    ),
    "a policy for nobody": lambda m: of(m, "NetworkPolicy", "edge")["spec"]["podSelector"].update(
        matchLabels={"a": "b"}
    ),
    "an old autoscaler": lambda m: of(m, "HorizontalPodAutoscaler", "edge").update(apiVersion="autoscaling/v2beta2"),
    "an autoscaler that is undone": lambda m: of(m, "StatefulSet", "edge")["spec"].update(replicas=2),
    "an ingress to nobody": lambda m: of(m, "Ingress", "edge")["spec"]["rules"][0]["http"]["paths"][0]["backend"][
        "service"
    ].update(name="edges"),
    "a Service's name": lambda m: of(m, "Service", "edge")["metadata"].update(name="4000-edge"),
    "its namespace behind it": lambda m: m.append(m.pop(0)),
    "another standard": lambda m: m[0]["metadata"]["labels"].update({"pod-security.kubernetes.io/enforce": "strict"}),
    "a word nobody knows": lambda m: of(m, "StatefulSet", "edge")["spec"].update(podManagementPolicy="Any"),
    "a probe that never waits": lambda m: container(m)["readinessProbe"].update(timeoutSeconds=-1),
    "a selector's value": lambda m: of(m, "PodDisruptionBudget", "edge")["spec"]["selector"].update(
        matchLabels={"app.kubernetes.io/name": "edge!"}
    ),
    "the node's network": lambda m: pod(of(m, "StatefulSet", "edge")).update(hostNetwork=True),
    "a port of the node": lambda m: container(m)["ports"][0].update(hostPort=4000),
    "a claim of nothing": lambda m: of(m, "StatefulSet", "edge")["spec"]["volumeClaimTemplates"][0]["spec"][
        "resources"
    ]["requests"].update(storage="0"),
    "a claim that is filled in": lambda m: of(m, "StatefulSet", "edge")["spec"]["volumeClaimTemplates"][0].pop(
        "status"
    ),
    "a field that is filled in": lambda m: next(
        each["valueFrom"]["fieldRef"] for each in container(m)["env"] if "fieldRef" in each.get("valueFrom", {})
    ).pop("apiVersion"),
    "a field that pods don't have": lambda m: container(m)["env"].append(
        {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}
    ),
    "addresses outside of the block": lambda m: of(m, "NetworkPolicy", "edge")["spec"]["egress"].append(
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}}]}
    ),
    "fewer at most than at least": lambda m: of(m, "HorizontalPodAutoscaler", "edge")["spec"].update(maxReplicas=1),
    "a host of no name": lambda m: of(m, "Ingress", "edge")["spec"]["rules"][0].update(host="tollgate_example"),
    "a key of no name": lambda m: next(each for each in m if each["kind"] == "ConfigMap")["data"].update({"a/b": "x"}),
    "too large": lambda m: next(each for each in m if each["kind"] == "ConfigMap")["data"].update(x="x" * 2**20),
}


@pytest.mark.parametrize("what", BREAKS)
def test_it_would_be_found(what: str) -> None:
    broken = copy.deepcopy(manifests("overlays/production"))
    BREAKS[what](broken)
    assert api_server.faults(broken), what


def test_a_change_of_what_never_changes_would_be_found() -> None:
    old = manifests("base")
    for change in (
        lambda m: of(m, "StatefulSet", "nats")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"][
            "requests"
        ].update(storage="2Gi"),
        lambda m: of(m, "StatefulSet", "edge")["spec"].update(serviceName="edge"),
        lambda m: of(m, "Deployment", "policy")["spec"]["selector"]["matchLabels"].update(version="2"),
        lambda m: of(m, "Service", "edge")["spec"].update(clusterIP="None"),
    ):
        new = copy.deepcopy(old)
        change(new)
        assert len(api_server.refused_changes(old, new)) == 1
    kept = [{"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}, "immutable": True}]
    assert api_server.refused_changes(kept, [{**kept[0], "data": {"a": "2"}}]) == ["ConfigMap/x: data"]
