"""Each service started as its rendered manifest says serves a call, and ends as Kubernetes ends it.
See pods.py.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

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


OVERLAYS = ("overlays/quickstart", "overlays/production")
ELSEWHERE = 'mount --rbind "$1" "$2"; cd "$2"; shift 2; exec "$@"'
"""The clone, where a pod's /tmp would lie over it: the first overlay is started there."""


def namespaces_work() -> bool:
    try:
        return subprocess.run([*NAMESPACES, "ip", "link"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="module")
def started() -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Every overlay at a time, each in namespaces of its own: most of it is waiting."""
    pods = [sys.executable, "-m", "tests.deploy.pods"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with tempfile.TemporaryDirectory(dir="/tmp") as clone:
        moved = ["sh", "-ec", ELSEWHERE, "sh", str(ROOT), clone]
        processes = {
            overlay: subprocess.Popen([*NAMESPACES, *way, *pods, overlay], **pipes)
            for overlay, way in zip(OVERLAYS, (moved, []), strict=True)
        }
        yield processes
        for process in processes.values():
            process.kill()


@pytest.mark.skipif(not namespaces_work(), reason="this system has no user namespaces")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_serves_as_its_manifest_says(overlay: str, started: dict[str, "subprocess.Popen[str]"]) -> None:
    stdout, stderr = started[overlay].communicate(timeout=110)
    assert started[overlay].returncode == 0, stderr[-9000:]
    result = json.loads(stdout.splitlines()[-1])
    assert result["answer"].startswith("Hello from Tollgate") and result["tags"] == ["pods"]
    assert result["users"] == dict.fromkeys(OURS, "10001")
    assert result["seen outside"] == [], (
        "nothing is called but what the configuration names: no update, no price list, no telemetry"
    )
    assert result["stopped"] == dict.fromkeys(OURS, 0)
    assert result["wrong"] == {"edge": [], "ledger": []}, "says `tollgate doctor`"
    production = overlay.endswith("production")
    assert result["replicas"] == dict.fromkeys(("CONTROL", "TRAFFIC", "PAYLOAD"), 3 if production else 1)
    assert result["in the clear"] == ([] if production else sorted(OURS))
