"""`python -m services.policy reseal [--dry-run]`: every sealed value in CONTROL under the current
sealing key, so that the old one can go.

    LITELLM_SALT_KEY=<new> TOLLGATE_OLD_SALT_KEYS=<old> python -m services.policy reseal

Only the data keys are wrapped anew: no value is ever in the clear. It may be stopped and run again,
and services may run meanwhile. Afterwards no entity needs the old key; facts of the past still do,
and nobody asks for those.
"""

import argparse
import asyncio
import os
import sys
from collections import Counter
from functools import partial
from typing import Any

import msgspec
import nats.errors

from services.policy import offline
from services.policy.config import PolicySettings
from services.policy.directory import Directory
from services.policy.plan import Change
from shared import logging, sealing, settings
from shared.entities import callbacks
from shared.errors import RefusedError
from shared.facts import Caller
from shared.sealing import Keyring, Sealed, SealingError
from shared.settings import SettingsError

ACTOR = Caller(user_id="reseal", role="proxy_admin")
ACTION = "resealed"
CHUNK = 100


def main(arguments: list[str]) -> int:
    """Exit status: 0 all of it is under the current key (or, with --dry-run, can be); 1 not."""
    parser = argparse.ArgumentParser(prog="reseal", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only count")
    given = parser.parse_args(arguments)
    logging.configure("policy")
    try:
        wanted = settings.read(PolicySettings, os.environ)
        keyring = sealing.ring(os.environ)
        if keyring is None:
            raise SettingsError("LITELLM_SALT_KEY, or TOLLGATE_DATA_DIR with its sealing.key, is needed")
        counts, stuck = asyncio.run(_run(wanted, keyring, dry_run=given.dry_run))
    except (SettingsError, offline.Stopped, RefusedError, OSError, TimeoutError, nats.errors.Error) as error:
        print(
            f"reseal: stopped: {str(error) or type(error).__name__}. What was written stands; run it again.",
            file=sys.stderr,
        )
        return 1
    for line in stuck:
        print(f"reseal: {line}", file=sys.stderr)
    said = ", ".join(f"{number} of {kind}" for kind, number in sorted(counts.items())) or "nothing"
    print(f"reseal: {said} {'would be' if given.dry_run else ''} sealed anew under {keyring.current}")
    return 1 if stuck else 0


async def _run(wanted: PolicySettings, keyring: Keyring, *, dry_run: bool) -> tuple[Counter[str], list[str]]:
    async with offline.connected(wanted) as client, offline.following(client) as replica:
        counts: Counter[str] = Counter()
        stuck: list[str] = []
        names = [(kind, entity_id) for kind, table in replica.directory.tables.items() for entity_id in table]
        for first in range(0, len(names), CHUNK):
            plan = partial(planned, replica.directory, keyring, names[first : first + CHUNK])
            changes, failed = await offline.write_planned(client, replica, plan, ACTOR, dry_run=dry_run)
            counts.update(each.kind for each in changes)
            stuck += failed
        return counts, stuck


def planned(directory: Directory, keyring: Keyring, names: list[tuple[str, str]]) -> tuple[list[Change], list[str]]:
    """The changes of those of the named entities that have a value under an older key, and what
    can't be opened. Pure.
    """
    changes, failed = [], []
    for kind, entity_id in names:
        entity = directory.tables[kind].get(entity_id)
        if entity is None:
            continue
        before = msgspec.to_builtins(entity)
        try:
            after = _resealed(kind, entity_id, before, keyring)
        except SealingError as error:
            failed.append(f"{kind} {entity_id[:80]}: {error}")
            continue
        if after != before:
            changes.append(Change(kind, entity_id, ACTION, before, after, directory.expected(kind, entity_id)))
    return changes, failed


def _resealed(kind: str, entity_id: str, entity: dict[str, Any], keyring: Keyring) -> dict[str, Any]:
    """Raises SealingError."""
    after = dict(entity)
    if isinstance(entity.get("sealed"), dict):
        after["sealed"] = {
            name: msgspec.to_builtins(keyring.reseal(msgspec.convert(value, Sealed), f"{kind}/{entity_id}/{name}"))
            for name, value in entity["sealed"].items()
        }
    if isinstance(entity.get("metadata"), dict):

        def anew(name: str, variable: str, value: str) -> str:
            sealed = sealing.sealed_of(value)
            return value if sealed is None else sealing.text_of(keyring.reseal(sealed, callbacks.place(name, variable)))

        after["metadata"] = callbacks.rewritten(entity["metadata"], anew)
    return after
