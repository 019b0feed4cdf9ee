"""Write the nats.conf files under deploy/: the broker's configuration as the table of subjects
(`shared/subjects.py`) wants it.

Passwords aren't in it: the server reads them from its environment, `NATS_<USER>_PASSWORD`. Run it
after a change of the table; a test compares.
"""

import json
from pathlib import Path
from typing import Any

from shared import broker

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
SERVERS = 3
HEAD = "# Made by tools/make_nats_conf.py from shared/subjects.py: don't edit.\n"
ROUTES = [f"nats://nats-{number}.nats:6222" for number in range(SERVERS)]
TLS = {"cert_file": "/etc/nats-tls/tls.crt", "key_file": "/etc/nats-tls/tls.key", "ca_file": "/etc/nats-tls/ca.crt"}


def variable(user: str) -> str:
    return f"NATS_{user.upper().replace('-', '_')}_PASSWORD"


def server(*, cluster: bool, tls: bool) -> dict[str, Any]:
    """One server's configuration as a tree. Passwords are marked, see `text`."""
    tree: dict[str, Any] = {
        "server_name": "$POD_NAME" if cluster else "tollgate",
        "listen": "0.0.0.0:4222",
        "http": "0.0.0.0:8222",
        "max_payload": PAYLOAD_BYTES_MAX,
        # Every message is on the disk before it is acknowledged. What the limits count is the
        # volume's, not what is free at the start.
        "jetstream": {"store_dir": "/data", "sync_interval": "always", "max_file_store": 2**50},
        "lame_duck_grace_period": "5s",
        "lame_duck_duration": "30s",
        "accounts": broker.accounts({user: f"${variable(user)}" for user in broker.USERS}),
    }
    if cluster:
        tree["cluster"] = {"name": "tollgate", "listen": "0.0.0.0:6222", "routes": ROUTES}
    if tls:
        tree["tls"] = TLS
        if cluster:
            tree["cluster"]["tls"] = {**TLS, "verify": True}
    return tree


def text(tree: dict[str, Any]) -> str:
    """JSON, which NATS reads; but a variable is one only without quotes."""
    lines = []
    for line in json.dumps(tree, indent=2).splitlines():
        before, mark, after = line.partition('"$')
        # A subject such as "$JS.API..." stands alone or behind `"subject":`, never behind these two
        # names.
        if mark and before.strip() in ('"password":', '"server_name":'):
            line = before + "$" + after.replace('"', "", 1)
        lines.append(line)
    return HEAD + "\n".join(lines) + "\n"


FILES = {
    "k8s/base/nats.conf": server(cluster=False, tls=False),
    "k8s/components/nats-cluster/nats.conf": server(cluster=True, tls=False),
    "k8s/components/tls/nats.conf": server(cluster=True, tls=True),
    "compose/nats.conf": server(cluster=True, tls=False),
}


def main() -> None:
    for name, tree in FILES.items():
        (DEPLOY / name).parent.mkdir(parents=True, exist_ok=True)
        (DEPLOY / name).write_text(text(tree))


if __name__ == "__main__":
    main()
