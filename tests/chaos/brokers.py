"""What the NATS servers of a cluster say of their streams (`/jsz`)."""

from collections.abc import Iterable
from typing import Any

import aiohttp

Seen = dict[str, dict[str, dict[str, Any]]]
"""server -> stream -> its `cluster` block, as that server sees it."""


async def streams(servers: Iterable[str]) -> Seen:
    """Of the servers that answer, the streams that have replicas."""
    found: Seen = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        for name in servers:
            try:
                async with session.get(f"http://{name}:8222/jsz?streams=1&config=1") as answer:
                    accounts = (await answer.json()).get("account_details") or []
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
            found[name] = {
                each["name"]: each.get("cluster") or {}
                for account in accounts
                for each in account.get("stream_detail") or []
                if each["config"]["num_replicas"] > 1
            }
    return found


def leader(seen: Seen, stream: str) -> str | None:
    """Who says of itself that it leads."""
    return next((name for name, found in seen.items() if found.get(stream, {}).get("leader") == name), None)


def in_step(seen: Seen, servers: int) -> bool:
    """Whether all answer, and each leader says that all others have all of its stream."""
    known = {stream for found in seen.values() for stream in found}
    for stream in known:
        leading = leader(seen, stream)
        replicas = (seen[leading][stream].get("replicas") or []) if leading is not None else []
        if len(replicas) != servers - 1 or not all(r.get("current") and not r.get("offline") for r in replicas):
            return False
    return bool(known) and len(seen) == servers
