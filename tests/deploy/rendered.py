"""The manifests as `kubectl kustomize` renders them, and what tests ask of them."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
RENDERED = ("base", "overlays/quickstart", "overlays/production")
OURS = ("edge", "policy", "moderation", "ledger")
WORKLOADS = ("Deployment", "StatefulSet")

Manifest = dict[str, Any]


def kubectl(*arguments: str) -> str:
    """The one of the test environment: no cluster is asked."""
    binary = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([str(binary), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def text(name: str) -> str:
    return kubectl("kustomize", str(K8S / name))


@cache
def manifests(name: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text(name)) if each]


def of_kind(name: str, *kinds: str) -> list[Manifest]:
    return [each for each in manifests(name) if each["kind"] in kinds]


def workload(rendered: str, name: str) -> Manifest:
    (found,) = [each for each in of_kind(rendered, *WORKLOADS) if each["metadata"]["name"] == name]
    return found


def pod(workload: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def containers(rendered: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(workload's name, pod spec, container), of every pod there is."""
    for each in of_kind(rendered, *WORKLOADS, "Job", "CronJob", "DaemonSet"):
        for container in [*pod(each)["containers"], *pod(each).get("initContainers", [])]:
            yield each["metadata"]["name"], pod(each), container
