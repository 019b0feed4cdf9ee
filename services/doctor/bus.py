"""The broker: is it there, is it new enough, does each user reach what it needs and nothing else,
are the streams as they must be.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client

from services.doctor.diagnosis import Diagnosis, user_of
from shared import bus, streams, subjects
from shared.subjects import DOORS, PERMISSIONS

CONNECT_TIMEOUT_S = 5.0
VERSION_MIN = (2, 12)
SKEW_S_MAX = 2.0
"""Expiry of keys, and of calls, is by the clocks of several machines."""
REFUSED_WAIT_S = 0.2


async def check(environ: Mapping[str, str]) -> list[Diagnosis]:
    url = environ.get("TOLLGATE_NATS_URL", "")
    if not url:
        return [Diagnosis("skipped", "broker", "TOLLGATE_NATS_URL isn't set")]
    user = user_of(environ)
    service = user if user in PERMISSIONS else "doctor"
    refused: list[str] = []
    try:
        client = await bus.connect_once(service, url, CONNECT_TIMEOUT_S)
    except (nats.errors.Error, OSError) as error:
        return [Diagnosis("wrong", "broker", f"not reached: {str(error)[:200]}")]
    try:
        found = [_version(client), _transport(client, url)]
        if user not in PERMISSIONS:
            found.append(
                Diagnosis(
                    "warning",
                    "broker's user",
                    f"{user or 'nobody'} is no service's: no rights are checked, and all may be had",
                )
            )
        for stream in (subjects.CONTROL_STREAM, subjects.TRAFFIC_STREAM):
            found += await _stream(client, stream)
        if user in PERMISSIONS:
            found.append(await _walls(client, user, refused))
        return found
    finally:
        await bus.close(client)


def _version(client: Client) -> Diagnosis:
    text = str(client._server_info.get("version", "0"))
    parts = tuple(int(part) for part in text.split("-")[0].split(".")[:2] if part.isdigit())
    if parts < VERSION_MIN:
        return Diagnosis("wrong", "broker's version", f"{text}; 2.12 or later is needed (atomic batches)")
    return Diagnosis("ok", "broker's version", text)


def _transport(client: bus.BusClient, url: str) -> Diagnosis:
    if client.wire is None:
        return Diagnosis(
            "warning",
            "broker's connection",
            "by the library alone, which is slower: the server wants more than a password",
        )
    return Diagnosis("ok", "broker's connection", "TLS" if "tls://" in url else "in the clear")


async def _stream(client: Client, stream: str) -> list[Diagnosis]:
    try:
        reply = await _info(client, stream)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        return [Diagnosis("skipped", f"stream {stream}", f"not for this user to see ({type(error).__name__})")]
    if "error" in reply:
        owner = "policy" if stream == subjects.CONTROL_STREAM else "ledger"
        return [
            Diagnosis(
                "wrong", f"stream {stream}", f"{reply['error'].get('description', '')}: {owner} makes it at its start"
            )
        ]
    config, state = reply["config"], reply["state"]
    wrong = _settings(stream, config)
    where = f"{state['messages']} messages, {state['bytes'] // 1024} KiB, {config['num_replicas']} replicas"
    if stream == subjects.TRAFFIC_STREAM:
        where += f", {(config.get('metadata') or {}).get(streams.SHARDS_KEY, 'no')} shards"
        limit = config.get("max_bytes", -1)
        if limit > 0 and state["bytes"] > limit * 0.8:
            wrong.append(f"it is {state['bytes'] * 100 // limit} % full: is a ledger recording?")
    lagging = [each["name"] for each in (reply.get("cluster") or {}).get("replicas") or [] if not each.get("current")]
    if lagging:
        wrong.append(f"replicas behind: {', '.join(lagging)}")
    findings = [Diagnosis("wrong" if wrong else "ok", f"stream {stream}", "; ".join([*wrong, where]))]
    if "ts" in reply:
        findings.append(_clock(reply["ts"]))
    return findings


def _settings(stream: str, config: Mapping[str, Any]) -> list[str]:
    """What policy and ledger put right at their start, should somebody have changed it since."""
    wrong = []
    if config.get("discard") != "new":
        wrong.append("discard isn't `new`: facts are dropped when it is full")
    if config.get("max_age") or (config.get("max_msgs") or -1) > 0 or (config.get("max_msgs_per_subject") or -1) > 0:
        wrong.append("a limit of age or number drops facts")
    if config.get("deny_purge"):
        wrong.append("deny_purge is set, and can't be taken back")
    if config.get("persist_mode", "default") == "async":
        wrong.append("persist_mode `async` acknowledges before anything is on the disk")
    if stream == subjects.CONTROL_STREAM and not (config.get("republish") or {}).get("dest", "").startswith(
        subjects.FEED_PREFIX
    ):
        wrong.append("no republish: edges learn of changes by looking only")
    return wrong


def _clock(server_time: str) -> Diagnosis:
    skew_s = time.time() - datetime.fromisoformat(server_time[:26].rstrip("Z") + "+00:00").timestamp()
    level = "warning" if abs(skew_s) > SKEW_S_MAX else "ok"
    return Diagnosis(level, "clock", f"{abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the broker's")


async def _info(client: Client, stream: str) -> dict[str, Any]:
    try:
        answer = await client.request(subjects.state(stream), b"", timeout=2)
    except nats.errors.NoRespondersError:
        answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=2)
    found: dict[str, Any] = msgspec.json.decode(answer.data)
    return found


async def _walls(client: Client, user: str, refused: list[str]) -> Diagnosis:
    """Whether the broker keeps this user from what isn't its own: one subject that only others may
    write to.
    """
    foreign = next(
        door.subject for door in DOORS if user not in door.users and door.owner != user and "*" not in door.subject
    )

    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    client._error_cb = on_error
    await client.publish(foreign, b"doctor")
    await client.flush(2)
    await asyncio.sleep(REFUSED_WAIT_S)
    if any("permissions violation" in text.lower() for text in refused):
        return Diagnosis("ok", "broker's permissions", f"{user} is kept to its own subjects")
    return Diagnosis(
        "wrong",
        "broker's permissions",
        f"{user} may publish {foreign}: give the broker the accounts of deploy/compose/nats.conf",
    )
