"""Start every service as its rendered manifest says, on this machine: `python -m tests.deploy.pods
OVERLAY`, run by test_pods.py.

In namespaces of its own: the network (so that the manifests' own ports are free), mounts (a root
that is read-only but for the pods' volumes; the host names of the Services), users (each container
sees itself as the user its manifest says). Command, arguments, environment, Secrets, volumes,
probes, the way of stopping and the grace period come from the manifest and the Dockerfile. Only
broker and database are our own copies, on the paths and ports that theirs would have: as many
brokers as the manifest says, each at an address of its own; where the overlay has no database, one
stands outside. Prints one line of JSON at the end.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.deploy.pod_world import Watch, make_world
from tests.deploy.rendered import ROOT, containers, manifests, pod, workload
from tests.ledger.servers import Postgres
from tests.support.broker import binary
from tools import k8s_secrets

READY_S = 60.0
OURS_ALONE = Path("/mnt")
"""Broker, database and logs: a file system in memory, seen by nobody else."""
PASSWORD = "of-a-database-of-your-own"
OUTSIDE = "http://1.1.1.1"
"""Of the public internet, so that only `offline` keeps it from being asked."""
OFFLINE = f"environment_variables:\n  UI_LOGO_PATH: {OUTSIDE}/logo.png\ngeneral_settings:\n  offline: true\n"


def config_map(overlay: str, name: str, key: str) -> str:
    (found,) = [
        each for each in manifests(overlay)
        if each["kind"] == "ConfigMap" and re.fullmatch(rf"{name}-[a-z0-9]+", each["metadata"]["name"])
    ]  # fmt: skip
    return str(found["data"][key])


def secret_files(overlay: str, secrets: k8s_secrets.Values) -> dict[str, str]:
    """Of every Secret that is mounted: path below /etc -> text."""
    found = {}
    for _, spec, container in containers(overlay):
        volumes = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
        for mount in container["volumeMounts"]:
            if (volume := volumes.get(mount["name"])) is not None:
                place = Path(mount["mountPath"]).relative_to("/etc")
                texts = secrets[volume["secretName"]]
                items = volume.get("items", [{"key": key, "path": key} for key in texts])
                found |= {str(place / item["path"]): texts[item["key"]] for item in items}
    return found


def image_environment() -> dict[str, str]:
    """The Dockerfile's ENV of its last stage."""
    stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", stage, re.M)
    assert block is not None
    return dict(re.findall(r"([A-Z_]+)=(\S+)", block[1].replace("\\\n", " ")))


def environment(
    spec: dict[str, Any], container: dict[str, Any], secrets: k8s_secrets.Values, pod_name: str
) -> dict[str, str]:
    image = {name: value for name, value in image_environment().items() if name != "PATH"}
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **image}
    for each in container["env"]:
        if "value" in each:
            env[each["name"]] = each["value"]
        elif "fieldRef" in each["valueFrom"]:
            assert each["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
            env[each["name"]] = pod_name
        else:
            ref = each["valueFrom"]["secretKeyRef"]
            env[each["name"]] = secrets[ref["name"]][ref["key"]]
    return env


class Pod:
    def __init__(self, overlay: str, name: str, secrets: k8s_secrets.Values, directory: Path) -> None:
        self.name = name
        self.spec = pod(workload(overlay, name))
        (self.container,) = self.spec["containers"]
        self.log = directory / f"{name}.log"
        user, group = self.spec["securityContext"]["runAsUser"], self.spec["securityContext"]["runAsGroup"]
        self._as = ["unshare", "--user", f"--map-user={user}", f"--map-group={group}", "--"]
        self._env = environment(self.spec, self.container, secrets, f"{name}-0")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self._as, sys.executable, *self.container["args"]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=log, stderr=log)

    async def until(self, probe: str, timeout_s: float) -> float:
        """Until the probe of the manifest succeeds. Returns how long it took."""
        started = time.monotonic()
        while not await self._asks(self.container[probe]["httpGet"]):
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() - started > timeout_s:
                raise AssertionError(f"{self.name}: {probe} failed\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.1)
        return time.monotonic() - started

    async def _asks(self, wanted: dict[str, Any]) -> bool:
        port = next(each["containerPort"] for each in self.container["ports"] if each["name"] == wanted["port"])
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.write(f"GET {wanted['path']} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return b" 200 " in line

    def identity(self) -> str:
        """As the container sees itself: its user."""
        assert self.process is not None
        inner = int(
            (
                Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
                or [str(self.process.pid)]
            )[0]
        )
        return Path(f"/proc/{inner}/uid_map").read_text().split()[0]

    async def doctor(self) -> list[str]:
        """What `kubectl exec ... -- tollgate doctor` finds wrong there; or how it ended
        otherwise.
        """
        command = [*self._as, sys.executable, "-m", "services.cli", "doctor"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=self._env, stdout=subprocess.PIPE)
        said = (await process.communicate())[0].decode()
        found = [line for line in said.splitlines() if line.startswith("WRONG")]
        return found if process.returncode == bool(found) and "broker's version" in said else [said]

    async def stop(self) -> tuple[int, float]:
        """As the kubelet does: preStop, SIGTERM, and no more than the grace period."""
        assert self.process is not None
        started = time.monotonic()
        hook = self.container["lifecycle"]["preStop"]["exec"]["command"]
        assert (await asyncio.to_thread(subprocess.run, hook, env=self._env)).returncode == 0
        self.process.send_signal(signal.SIGTERM)
        grace_s = self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - started)
        status = await asyncio.to_thread(self.process.wait, min(grace_s, 60))
        return status, time.monotonic() - started


async def call(method: str, path: str, key: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {key}"}
        async with session.request(method, f"http://edge:4000{path}", json=body, headers=headers) as answer:
            said = await answer.read()
            return answer.status, json.loads(said) if answer.content_type == "application/json" else said


class Brokers:
    """The servers of the manifest's number, each at an address of its own where there are
    several.
    """

    def __init__(self, overlay: str, secrets: k8s_secrets.Values, directory: Path) -> None:
        self._conf = config_map(overlay, "nats-conf", "nats.conf")
        self._secrets, self._directory = secrets, directory
        self.count = workload(overlay, "nats")["spec"]["replicas"]
        (_, self._spec, self._container) = next(each for each in containers(overlay) if each[0] == "nats")
        self._processes: list[subprocess.Popen[bytes]] = []

    def hosts(self) -> dict[str, str]:
        """As a headless Service's names: each pod's, and one for all."""
        if self.count == 1:
            return {"127.0.0.1": "nats"}
        return {f"127.0.1.{n}": f"nats-{n}.nats nats" for n in range(self.count)}

    def start(self) -> None:
        for n, address in enumerate(self.hosts()):
            conf = self._directory / f"nats-{n}.conf"
            text = self._conf.replace('"/data"', f'"{self._directory}/nats-{n}"')
            conf.write_text(text.replace("0.0.0.0", address) if self.count > 1 else text)
            env = environment(self._spec, self._container, self._secrets, f"nats-{n}")
            with (self._directory / f"nats-{n}.log").open("wb") as log:
                self._processes.append(subprocess.Popen([binary(), "-c", str(conf)], env=env, stdout=log, stderr=log))

    async def seen(self) -> dict[str, Any]:
        """The replicas of each stream, and who isn't connected by TLS."""
        import aiohttp

        replicas: dict[str, int] = {}
        clear = []
        async with aiohttp.ClientSession() as session:
            for address in self.hosts():
                async with session.get(f"http://{address}:8222/jsz?streams=true&config=true") as answer:
                    for account in (await answer.json()).get("account_details", []):
                        for stream in account.get("stream_detail", []):
                            replicas[stream["name"]] = stream["config"]["num_replicas"]
                async with session.get(f"http://{address}:8222/connz?auth=true") as answer:
                    clear += [
                        each.get("authorized_user")
                        for each in (await answer.json())["connections"]
                        if not each.get("tls_version")
                    ]
        return {"replicas": replicas, "in the clear": sorted(set(clear))}

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()


def secrets_of(overlay: str) -> tuple[k8s_secrets.Values, str]:
    """As the operator of this overlay makes them, and the host name of its database."""
    names = {each["metadata"]["name"] for each in manifests(overlay)}
    tls = any("secret" in volume for volume in pod(workload(overlay, "nats"))["volumes"])
    if "postgres" in names:
        return k8s_secrets.values({}, tls=tls, database_url=""), "postgres"
    return k8s_secrets.values(
        {}, tls=tls, database_url=f"postgresql://tollgate:{PASSWORD}@database:5432/tollgate"
    ), "database"


async def main(overlay: str, directory: Path) -> dict[str, Any]:
    secrets, database_host = secrets_of(overlay)
    config = config_map(overlay, "tollgate-config", "config.yaml").replace("general_settings:\n", OFFLINE, 1)
    brokers = Brokers(overlay, secrets, directory)
    hosts = brokers.hosts()
    hosts["127.0.0.1"] = f"localhost edge ledger {database_host} {hosts.get('127.0.0.1', '')}"
    make_world(directory, hosts, {"tollgate/config.yaml": config, **secret_files(overlay, secrets)})
    watch = Watch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"x", ("192.0.2.1", 9))
    assert watch.seen() == ["192.0.2.1:9"], "it sees"
    database = Postgres(directory / "pg")
    database.port = 5432
    database.start()
    await database.ready()
    await prepare(database, secrets["tollgate-postgres"]["password"] if database_host == "postgres" else PASSWORD)
    brokers.start()
    pods = [Pod(overlay, name, secrets, directory) for name in ("edge", "policy", "moderation", "ledger")]
    result: dict[str, Any] = {"users": {}, "stopped": {}}
    try:
        for each in pods:
            each.start()
        for each in pods:
            startup = each.container["startupProbe"]
            await each.until("startupProbe", startup["periodSeconds"] * startup["failureThreshold"])
        for each in pods:
            await each.until("readinessProbe", READY_S)
            await each.until("livenessProbe", 2)
            result["users"][each.name] = each.identity()
        result.update(await use(secrets["tollgate-master-key"]["master-key"]))
        result.update(await brokers.seen())
        result["wrong"] = dict(
            zip(("edge", "ledger"), await asyncio.gather(pods[0].doctor(), pods[3].doctor()), strict=True)
        )
        result["seen outside"] = watch.seen()
        result["stopped"]["edge"], _ = await pods[0].stop()  # first: what it flushes, the others take
        rest = await asyncio.gather(*(each.stop() for each in pods[1:]))
        result["stopped"] |= {each.name: status for each, (status, _) in zip(pods[1:], rest, strict=True)}
    except BaseException:
        for log in sorted(directory.glob("*.log")):
            print(log.name, log.read_text()[-1500:], file=sys.stderr)
        raise
    finally:
        for each in pods:
            if each.process is not None and each.process.poll() is None:
                each.process.kill()
        brokers.stop()
        database.stop()
    return result


async def prepare(database: Postgres, password: str) -> None:
    """What the image's entry point makes of POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB."""
    import asyncpg

    connection = await asyncpg.connect(database.url("postgres"))
    await connection.execute(f"CREATE ROLE tollgate SUPERUSER LOGIN PASSWORD '{password}'")
    await connection.execute("CREATE DATABASE tollgate OWNER tollgate")
    await connection.close()


async def use(master: str) -> dict[str, Any]:
    """A key, a call with it, and the call in the book."""
    status, made = await call("POST", "/key/generate", master, {"metadata": {"tags": ["pods"]}})
    assert status == 200, made
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = await call("POST", "/v1/chat/completions", made["key"], body)
    assert status == 200, answer
    # What would lead outside: a logo, and a target that is named by API.
    await call("GET", "/get_image", master)
    status, made = await call("POST", "/config/pass_through_endpoint", master, {"path": "/outside", "target": OUTSIDE})
    assert status == 200, made
    deadline = time.monotonic() + 20
    while (status := (await call("GET", "/outside", master))[0]) != 502:
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.2)
    while True:
        status, rows = await call("GET", f"/spend/logs?request_id={answer['id']}", master)
        if status == 200 and rows:
            return {"answer": answer["choices"][0]["message"]["content"], "tags": rows[0]["request_tags"]}
        assert time.monotonic() < deadline, (status, rows)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], OURS_ALONE))))
