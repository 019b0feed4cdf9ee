"""What an API server refuses in manifests that its schema allows, and what it takes but leaves
unready: its validation, restricted Pod Security, references. Pure; from the API's documentation, as
far as our kinds go."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Any

import yaml

from tests.deploy.rendered import WORKLOADS, Manifest

LABEL = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE_NAME = re.compile(r"(?=.{1,63}$)[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"(?=.{0,63}$)([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
QUALIFIED = re.compile(r"([a-z0-9.-]{1,253}/)?(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
KEY = re.compile(r"(?=.{1,253}$)[-._a-zA-Z0-9]+")
QUANTITY = re.compile(r"([0-9.]+)(m|Ki|Mi|Gi|)")
FACTORS = {"m": 0.001, "": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
CONFIG_MAP_BYTES_MAX = 1024**2
ANNOTATIONS_BYTES_MAX = 256 * 1024
"""`kubectl apply` keeps the whole manifest in one of them."""
REVISION_HASH = 11
"""A pod's and a StatefulSet's hash behind the workload's name, which becomes a label's value."""
STATEFUL_SET_MUTABLE = {
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
}  # fmt: skip
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
"""That restricted Pod Security lets a pod have."""
OF_THE_NODE = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
FILLED_IN = "without what the server fills in: it is owned as a whole, so server-side apply after the other conflicts"
WORDS = {
    "podManagementPolicy": {"OrderedReady", "Parallel"},
    "whenDeleted": {"Retain", "Delete"},
    "whenScaled": {"Retain", "Delete"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "pathType": {"Exact", "Prefix", "ImplementationSpecific"},
    "medium": {"", "Memory"},
    "pod-security.kubernetes.io/enforce": {"restricted"},
}
"""Fields whose values the schema leaves open, wherever they stand."""
AT_LEAST = {"maxSkew": 1, **dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold", "replicas"), 0)}
AT_MOST = {"port": 65_535, "containerPort": 65_535, "stabilizationWindowSeconds": 3_600, "periodSeconds": 1_800}
FIELDS = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP", "status.hostIP"}


def amount(text: object) -> float:
    """Of a resource's quantity."""
    found = QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"no quantity: {text!r}")
    return float(found[1]) * FACTORS[found[2]]


def twice(names: Iterable[object]) -> list[object]:
    return [name for name, count in Counter(names).items() if count > 1]


def faults(manifests: list[Manifest]) -> list[str]:
    """`kind/name: what`, of everything that would be refused, or that would wait for what never
    comes.
    """
    found = [f"{key}: twice" for key in twice((each["kind"], each["metadata"]["name"]) for each in manifests)]
    kinds = [each["kind"] for each in manifests]
    if "Namespace" in kinds and kinds[0] != "Namespace":
        found.append("Namespace: after what stands in it")
    for each in manifests:
        found += [f"{each['kind']}/{each['metadata']['name']}: {fault}" for fault in _faults(each, manifests)]
    return found


def _faults(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    yield from _metadata(each)
    if each["kind"] in WORKLOADS:
        yield from _workload(each, all_)
    if each["kind"] in CHECKS:
        yield from CHECKS[each["kind"]](each, all_)


def _values(where: str, tree: object) -> Iterator[str]:
    """Words and numbers that the schema leaves open."""
    for at, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if at in WORDS and value not in WORDS[at]:
            yield f"{where}.{at}: {value!r}"
        if isinstance(value, int) and not AT_LEAST.get(at, value) <= value <= AT_MOST.get(at, value):
            yield f"{where}.{at}: {value}"
        if at == "matchLabels" and not all(LABEL_VALUE.fullmatch(str(each)) for each in value.values()):
            yield f"{where}.{at}: {value}"
        yield from _values(f"{where}.{at}", value)


def _metadata(each: Manifest) -> Iterator[str]:
    name = each["metadata"]["name"]
    pattern = {"Namespace": LABEL, "Service": SERVICE_NAME}.get(each["kind"], SUBDOMAIN)
    yield from _values("", {key: value for key, value in each.items() if key != "data"})
    if not pattern.fullmatch(name):
        yield f"no name: {name}"
    if len(yaml.safe_dump(each)) > ANNOTATIONS_BYTES_MAX:
        yield "too large for kubectl's annotation"
    for labels in (each["metadata"].get("labels", {}), _template(each).get("metadata", {}).get("labels", {})):
        for key, value in labels.items():
            if not QUALIFIED.fullmatch(key) or not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
                yield f"label {key}: {value!r}"
    for annotations in (
        each["metadata"].get("annotations", {}),
        _template(each).get("metadata", {}).get("annotations", {}),
    ):
        for key, value in annotations.items():
            if not QUALIFIED.fullmatch(key) or not isinstance(value, str):
                yield f"annotation {key}: {value!r}"


def _template(each: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = each.get("spec", {}).get("template", {}) if each["kind"] in WORKLOADS else {}
    return found


def labels_of(workload: Manifest) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def selected(selector: dict[str, str], all_: list[Manifest]) -> list[Manifest]:
    return [each for each in all_ if each["kind"] in WORKLOADS and selector.items() <= labels_of(each).items()]


def _workload(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    spec, pod = each["spec"], each["spec"]["template"]["spec"]
    if not spec["selector"]["matchLabels"].items() <= labels_of(each).items():
        yield "its selector doesn't match its own pods"
    if len(each["metadata"]["name"]) + REVISION_HASH > 63:
        yield "its name with a revision is no label's value"
    if len(selected(spec["selector"]["matchLabels"], all_)) != 1:
        yield "its selector matches another's pods"
    if pod.get("restartPolicy", "Always") != "Always":
        yield "restartPolicy"
    yield from (f"{name}: of the node's" for name in OF_THE_NODE if pod.get(name))
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls"
    spreads = [(one["topologyKey"], one["whenUnsatisfiable"]) for one in pod.get("topologySpreadConstraints", [])]
    yield from (f"spread {key}: twice" for key in twice(spreads))
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]
    for claim in spec.get("volumeClaimTemplates", []):
        if not claim["spec"]["accessModes"] or amount(claim["spec"]["resources"]["requests"]["storage"]) <= 0:
            yield f"claim {claim['metadata']['name']}: of nothing"
        if not {"apiVersion", "kind", "status"} <= claim.keys() or "volumeMode" not in claim["spec"]:
            yield f"claim {claim['metadata']['name']}: {FILLED_IN}"
    volumes = [volume["name"] for volume in pod.get("volumes", [])] + claims
    yield from (f"volume {name}: twice" for name in twice(volumes))
    yield from (f"volume {name}: no name" for name in volumes if not LABEL.fullmatch(name))
    for volume in pod.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if len(kinds) != 1 or not kinds <= VOLUMES:
            yield f"volume {volume['name']}: {kinds}"
        if amount(volume.get("emptyDir", {}).get("sizeLimit", "1")) <= 0:
            yield f"volume {volume['name']}: of nothing"
        if "configMap" in volume and volume["configMap"]["name"] not in _names("ConfigMap", all_):
            yield f"volume {volume['name']}: no such ConfigMap"
    together = [*pod["containers"], *pod.get("initContainers", [])]
    yield from (f"container {name}: twice" for name in twice(one["name"] for one in together))
    for container in together:
        yield from _container(container, set(volumes), pod.get("securityContext", {}))


def _names(kind: str, all_: list[Manifest]) -> set[str]:
    return {each["metadata"]["name"] for each in all_ if each["kind"] == kind}


def _container(container: dict[str, Any], volumes: set[str], of_pod: dict[str, Any]) -> Iterator[str]:
    if not LABEL.fullmatch(container["name"]):
        yield f"container {container['name']}: no name"
    ports = container.get("ports", [])
    yield from (f"port {port['name']}: no name" for port in ports if not PORT_NAME.fullmatch(port["name"]))
    yield from (f"port {port['name']}: of the node's" for port in ports if "hostPort" in port)
    yield from (f"port {name}: twice" for name in twice(port["name"] for port in ports))
    yield from (
        f"port {port}: twice" for port in twice((port["containerPort"], port.get("protocol", "TCP")) for port in ports)
    )
    env = container.get("env", [])
    yield from (f"variable {name}: twice" for name in twice(one["name"] for one in env))
    for one in env:
        if not VARIABLE.fullmatch(one["name"]):
            yield f"variable {one['name']}: no name"
        if ("value" in one) == ("valueFrom" in one) or not isinstance(one.get("value", ""), str):
            yield f"variable {one['name']}: neither a string nor a reference"
        if (field := one.get("valueFrom", {}).get("fieldRef")) is not None:
            if field["fieldPath"] not in FIELDS:
                yield f"variable {one['name']}: no such field"
            if "apiVersion" not in field:
                yield f"variable {one['name']}: {FILLED_IN}"
    mounts = container.get("volumeMounts", [])
    yield from (f"mount {path}: twice" for path in twice(mount["mountPath"] for mount in mounts))
    yield from (f"mount {mount['name']}: no such volume" for mount in mounts if mount["name"] not in volumes)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container.get(probe, {})
        named = asked.get("httpGet", {}).get("port")
        if isinstance(named, str) and named not in {port["name"] for port in ports}:
            yield f"{probe}: no port {named}"
        if probe != "readinessProbe" and asked.get("successThreshold", 1) != 1:
            yield f"{probe}: successThreshold must be 1"
        if any("host" in asked.get(way, {}) for way in ("httpGet", "tcpSocket")):
            yield f"{probe}: restricted Pod Security lets no probe name a host"
    resources = container.get("resources", {})
    for name, wanted in resources.get("requests", {}).items():
        limit = resources.get("limits", {}).get(name)
        if limit is not None and amount(wanted) > amount(limit):
            yield f"{name}: more requested than its limit"
    yield from _restricted({**of_pod, **container.get("securityContext", {})})


def _restricted(context: dict[str, Any]) -> Iterator[str]:
    """A container's security context above its pod's."""
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if context.get("privileged"):
        yield "privileged"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if context.keys() & {"windowsOptions", "procMount", "seLinuxOptions"}:
        yield "a field that restricted Pod Security or the node's system refuses"


def _stateful_set(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    services = [
        one for one in all_ if one["kind"] == "Service" and one["metadata"]["name"] == each["spec"]["serviceName"]
    ]
    if not services or services[0]["spec"].get("clusterIP") != "None":
        yield "its Service isn't there, or isn't headless: pods have no names"


def _service(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    ports = each["spec"]["ports"]
    yield from (f"port {port['name']}: no name" for port in ports if not LABEL.fullmatch(port["name"]))
    yield from (f"port {key}: twice" for key in twice(port["name"] for port in ports))
    yield from (f"port {key}: twice" for key in twice(port["port"] for port in ports))
    behind = selected(each["spec"]["selector"], all_)
    if len(behind) != 1:
        yield "nobody, or more than one workload, is behind it"
    for workload in behind:
        (container, *_) = workload["spec"]["template"]["spec"]["containers"]
        named = {port["name"] for port in container["ports"]}
        yield from (f"no port {port['targetPort']}" for port in ports if port["targetPort"] not in named)


def _disruption_budget(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    if each["apiVersion"] != "policy/v1":
        yield "apiVersion"
    behind = selected(each["spec"]["selector"]["matchLabels"], all_)
    if len(behind) != 1:
        yield "nobody, or more than one workload, is behind it"
    if ("minAvailable" in each["spec"]) == ("maxUnavailable" in each["spec"]):
        yield "exactly one of minAvailable and maxUnavailable"
    if each["spec"].get("maxUnavailable") == 0:
        yield "no node can ever be drained"


def _network_policy(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    chosen = each["spec"]["podSelector"].get("matchLabels", {})
    if chosen and not selected(chosen, all_):
        yield "nobody is behind it"
    for rule in (*each["spec"].get("ingress", []), *each["spec"].get("egress", [])):
        for peer in (*rule.get("from", []), *rule.get("to", [])):
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            if labels and not selected(labels, all_):
                yield f"nobody is {labels}"
            if "ipBlock" in peer and len(peer) > 1:
                yield "an ipBlock beside a selector"
            if "ipBlock" in peer:
                whole = ip_network(peer["ipBlock"]["cidr"])
                without = [ip_network(each) for each in peer["ipBlock"].get("except", [])]
                yield from (f"{each}: outside {whole}" for each in without if not whole.supernet_of(each))
        yield from (
            f"port {port['port']}: by name, which some networks don't know"
            for port in rule.get("ports", [])
            if isinstance(port["port"], str)
        )


def _autoscaler(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    if each["apiVersion"] != "autoscaling/v2":
        yield "apiVersion"
    if not 0 < each["spec"].get("minReplicas", 1) <= each["spec"]["maxReplicas"]:
        yield "fewer at most than at least"
    target = each["spec"]["scaleTargetRef"]
    scaled = [one for one in all_ if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])]
    if not scaled:
        yield "nobody to scale"
    for workload in scaled:
        if "replicas" in workload["spec"]:
            yield "each apply would undo what it did"
        for container in workload["spec"]["template"]["spec"]["containers"]:
            if "cpu" not in container["resources"].get("requests", {}):
                yield "a share of a request that isn't there"


def _ingress(each: Manifest, all_: list[Manifest]) -> Iterator[str]:
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in all_ if one["kind"] == "Service"}
    for rule in each["spec"]["rules"]:
        if not SUBDOMAIN.fullmatch(rule.get("host", "any")):
            yield f"host {rule['host']}"
        for path in rule["http"]["paths"]:
            aimed = path["backend"]["service"]
            if aimed["port"]["name"] not in {port["name"] for port in services.get(aimed["name"], [])}:
                yield f"no {aimed}"


def _config_map(each: Manifest, _: list[Manifest]) -> Iterator[str]:
    yield from (f"key {key}: no name" for key in each["data"] if not KEY.fullmatch(key))
    if sum(len(text.encode()) for text in each["data"].values()) > CONFIG_MAP_BYTES_MAX:
        yield "larger than a ConfigMap may be"


CHECKS = {
    "StatefulSet": _stateful_set,
    "Service": _service,
    "PodDisruptionBudget": _disruption_budget,
    "NetworkPolicy": _network_policy,
    "HorizontalPodAutoscaler": _autoscaler,
    "Ingress": _ingress,
    "ConfigMap": _config_map,
}


def refused_changes(old: list[Manifest], new: list[Manifest]) -> list[str]:
    """What `apply` of `new` over `old`, in one namespace, is refused for: fields that never
    change.
    """
    before = {(each["kind"], each["metadata"]["name"]): each for each in old}
    found = []
    for each in new:
        key = each["kind"], each["metadata"]["name"]
        if key not in before:
            continue
        spec, was = each.get("spec", {}), before[key].get("spec", {})
        names: set[str] = set()
        if each["kind"] == "StatefulSet":
            names = (spec.keys() | was.keys()) - STATEFUL_SET_MUTABLE
        if each["kind"] == "Deployment":
            names = {"selector"}
        if each["kind"] == "Service":
            names = {"clusterIP"}
        whole = before[key]
        if whole.get("immutable"):
            found += [
                f"{each['kind']}/{key[1]}: {name}"
                for name in ("data", "immutable")
                if each.get(name) != whole.get(name)
            ]
        found += [f"{each['kind']}/{key[1]}: {name}" for name in sorted(names) if spec.get(name) != was.get(name)]
    return found
