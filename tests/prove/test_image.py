"""The image, built from the Dockerfile on a base of its own, and every service started from the
image's own files: as its user, on a root that can't be written. `make prove PYTEST_ARGS="-s -k
test_image"`; as root, with Debian's buildah and debootstrap. Takes minutes.
"""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.version import VERSION
from tests.ledger.servers import Postgres
from tests.support.broker import AccountsBroker
from tests.support.ports import free_port
from tests.support.suite import ROOT

SIZE_BYTES_MAX = 150_000_000
"""Besides the base."""
SUITE = "bookworm"
READY_S = 120.0
MASTER_KEY = "sk-for-the-image-0123456789"
CONFIG = "model_list:\n  - {model_name: m, litellm_params: {model: openai/m, api_key: none, mock_response: from the image}}\n"
USER = "10001"
START = """
mount --bind "$1" "$1" && mount --bind "$2" "$1/etc/tollgate/config.yaml" && mount -o remount,bind,ro "$1"
mount -t tmpfs tmpfs "$1/tmp" && mount -t tmpfs -o uid=10001,gid=10001 tmpfs "$1/var/lib/tollgate" && mount -t proc proc "$1/proc"
root="$1"; shift 2
exec chroot --userspec=10001:10001 "$root" sh -ec 'cd /opt/tollgate; exec venv/bin/python "$@"' sh "$@"
"""
"""In a mount namespace: root, configuration, then Python's arguments. Only /tmp and the data
directory can be written.
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("buildah") or not shutil.which("debootstrap"),
    reason="needs root, buildah and debootstrap",
)


def tool(directory: Path, *arguments: str | Path) -> str:
    store = ["--storage-driver", "vfs", "--root", directory / "store", "--runroot", directory / "run"]
    done = subprocess.run(["buildah", *map(str, [*store, *arguments])], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.strip().rpartition("\n")[2]


def specials(folder: str, names: list[str]) -> list[str]:
    """Devices, sockets and fifos: a copy would read them, and /dev/full has no end. The build
    brings its own /dev.
    """
    modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
    return [
        name for name, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
    ]


def built(directory: Path) -> Path:
    """The image's files."""
    base = directory / "base"
    packages = "--include=python3,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, SUITE, base], check=True, capture_output=True)
    container = tool(directory, "from", "scratch")
    mounted = tool(directory, "mount", container)
    shutil.copytree(base, mounted, symlinks=True, dirs_exist_ok=True, ignore=specials)
    tool(directory, "commit", "-q", "--rm", container, "localhost/base:1")
    # What pip is told on this machine, and whose certificates it trusts, holds in the build too.
    told = [f"--env={name}" for name in os.environ if name.startswith("PIP_")]
    trusted = "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"
    arguments = [
        "--isolation",
        "chroot",
        "--build-arg",
        "BASE=localhost/base:1",
        trusted,
        *told,
        "-t",
        "tollgate:proof",
        ".",
    ]
    tool(directory, "bud", *arguments)
    return Path(tool(directory, "mount", tool(directory, "from", "localhost/tollgate:proof")))


def size_bytes(root: Path) -> int:
    return sum(
        path.lstat().st_size for name in ("opt/tollgate", "var/lib/tollgate") for path in (root / name).rglob("*")
    )


def image_environment() -> dict[str, str]:
    stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", stage, re.M)
    assert block is not None
    return {
        name: value for name, value in re.findall(r"([A-Z_]+)=(\S+)", block[1].replace("\\\n", " ")) if name != "PATH"
    }


def inside(root: Path, config: Path, *arguments: str) -> list[str | Path]:
    """The command for the image's Python with these arguments."""
    return ["unshare", "--mount", "sh", "-ec", START, "sh", root, config, *arguments]


@contextlib.contextmanager
def running(root: Path, directory: Path) -> Iterator[int]:
    """All services; gives the edge's port. At the end each must end by itself, with status 0."""
    (root / "etc" / "tollgate").mkdir(exist_ok=True)
    (root / "etc" / "tollgate" / "config.yaml").touch()
    config = directory / "config.yaml"
    config.write_text(CONFIG)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with AccountsBroker(directory) as broker, Postgres(directory / "pg") as database:
        ports = {kind: free_port() for kind in ("policy", "moderation", "ledger", "edge")}
        api, ledger = free_port(), free_port()
        for kind, probe in ports.items():
            env = {
                **image_environment(), "LITELLM_MASTER_KEY": MASTER_KEY, "TOLLGATE_NATS_URL": broker.url(kind),
                f"TOLLGATE_{kind.upper()}_PROBE_PORT": str(probe), "TOLLGATE_EDGE_PORT": str(api), "TOLLGATE_LEDGER_PORT": str(ledger),
                "TOLLGATE_LEDGER_URL": f"http://127.0.0.1:{ledger}", "TOLLGATE_EDGE_DRAIN_IDLE_MS": "0",
                **({"TOLLGATE_DATABASE_URL": database.url("postgres")} if kind == "ledger" else {}),
            }  # fmt: skip
            command = inside(root, config, "-m", f"services.{kind}")
            with (directory / f"{kind}.log").open("wb") as log:
                processes[kind] = subprocess.Popen(
                    command, env={"PATH": os.environ["PATH"], **env}, stdout=log, stderr=log
                )
        try:
            for kind, probe in ports.items():
                deadline = time.monotonic() + READY_S
                while not ready(probe):
                    assert processes[kind].poll() is None and time.monotonic() < deadline, (
                        directory / f"{kind}.log"
                    ).read_text()
                    time.sleep(0.2)
                status = Path(f"/proc/{processes[kind].pid}/status").read_text()
                assert re.search(rf"^Uid:\s+{USER}\s+{USER}\s", status, re.M), status
            yield api
        finally:
            for process in reversed(processes.values()):
                process.terminate()
            ended = {kind: process.wait(60) for kind, process in processes.items()}
    assert ended == dict.fromkeys(processes, 0)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def serves(root: Path, directory: Path) -> None:
    (directory / "pg").mkdir()
    with running(root, directory) as port:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}).encode(),
            {"Authorization": f"Bearer {MASTER_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.loads(answer.read())["choices"][0]["message"]["content"] == "from the image"


@pytest.mark.timeout(1800)
def test_the_image_is_small_and_serves_from_its_own_files(tmp_path: Path) -> None:
    try:
        root = built(tmp_path)
        size = size_bytes(root)
        print(f"{size / 1e6:.1f} MB besides the base")
        assert size <= SIZE_BYTES_MAX
        serve = tmp_path / "serve"
        serve.mkdir()
        serves(root, serve)
        script = root / "opt/tollgate/venv/bin/tollgate"
        command = inside(root, serve / "config.yaml", "venv/bin/tollgate", "--version")
        said = subprocess.run(command, capture_output=True, text=True)
        assert os.access(script, os.X_OK) and said.stdout == f"tollgate {VERSION}\n", said
    finally:
        tool(tmp_path, "rm", "--all")
