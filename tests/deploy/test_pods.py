"""Each service started as its rendered manifest says serves a call, and ends as Kubernetes ends it. See pods.py."""

import json
import subprocess
import sys

import pytest

from tests.deploy.rendered import OURS, ROOT

NAMESPACES = [
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
]


def namespaces_work() -> bool:
    try:
        return subprocess.run([*NAMESPACES, "ip", "link"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not namespaces_work(), reason="this system has no user namespaces")
@pytest.mark.parametrize("overlay", ["overlays/quickstart"])
def test_every_service_serves_as_its_manifest_says(overlay: str) -> None:
    command = [*NAMESPACES, sys.executable, "-m", "tests.deploy.pods", overlay]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-6000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["answer"].startswith("Hello from Tollgate") and result["tags"] == ["pods"]
    assert result["users"] == dict.fromkeys(OURS, "10001")
    assert result["seen outside"] == [], (
        "nothing is called but what the configuration names: no update, no price list, no telemetry"
    )
    assert result["stopped"] == dict.fromkeys(OURS, 0)
