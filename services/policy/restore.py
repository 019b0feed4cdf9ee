"""`restore-control [FILE]`: CONTROL rebuilt from what `python -m services.ledger dump-control`
wrote, after the broker lost it.

    python -m services.ledger dump-control | python -m services.policy restore-control

The log's chain is checked before anything is written. Facts get new sequences, in their old order,
and keep their ids, so that the ledger knows them again. It may be stopped and run again: what is
there isn't written twice. What was written since the stream was lost stands: of an entity with
newer facts nothing old is restored, and both are counted. Services may run meanwhile: policy
answers nobody from the fact that says that history follows to the one that says that it is whole,
since a key that ended long ago is valid in between.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client

from services.policy import offline
from services.policy.admin import TOLLGATE
from services.policy.config import PolicySettings
from services.policy.replica import read_fact
from shared import history, settings, streams, subjects
from shared.audit_chain import EMPTY, Entry, follows
from shared.clock import unix_ms
from shared.decoding import UNREADABLE
from shared.entities.replay import KEPT_S
from shared.facts import ControlFact, encode_control
from shared.feed import REBUILD, RESTORING
from shared.ids import new_id
from shared.settings import SettingsError

LINE_BYTES_MAX = 16 * 1024 * 1024
PUBLISH_TIMEOUT_S = 10.0


class RestoreError(Exception):
    """Nothing (more) was written; the message says why."""


class Restored(NamedTuple):
    written: int
    present: int
    """Were in the stream already."""
    outdated: int
    """Of entities that were changed since."""
    unreadable: int

    def __str__(self) -> str:
        return (
            f"{self.written} control facts written, {self.present} were there, {self.outdated} left out because their entity was"
            f" changed since, {self.unreadable} left out because they can't be read"
        )


def main(arguments: list[str]) -> int:
    """Exit status: 0 restored, 1 not, or not whole."""
    try:
        wanted = settings.read(PolicySettings, os.environ)
        if arguments:
            with open(arguments[0], "rb") as file:
                return asyncio.run(_run(wanted, file))
        with tempfile.TemporaryFile() as spool:  # it is read twice
            while chunk := sys.stdin.buffer.read(1024 * 1024):
                spool.write(chunk)
            return asyncio.run(_run(wanted, spool))
    except (SettingsError, RestoreError, OSError, TimeoutError, nats.errors.Error) as error:
        print(f"restore-control: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1


async def _run(wanted: PolicySettings, log: BinaryIO) -> int:
    async with offline.connected(wanted) as client:
        print(f"restore-control: {await restore(client, log)}", file=sys.stderr)
    return 0


async def restore(client: Client, log: BinaryIO) -> Restored:
    """Raises RestoreError, nats.errors.Error, OSError or TimeoutError; then it may be run again."""
    in_log = {fact_id for entry in entries(log) if (fact_id := _fact_id(entry)) is not None}
    if not in_log:
        raise RestoreError("the log has no control facts")
    begun = False
    there = await _present(client, in_log)
    last_seq, written, present, outdated, unreadable = there.last_seq, 0, 0, 0, 0
    for entry in entries(log):
        fact_id = _fact_id(entry)
        if entry.subject == REBUILD:
            continue
        # Remembered answers, which end by themselves, give nobody rights: policy needn't wait.
        lasts = fact_id is not None and not entry.subject.startswith(subjects.ENDING)
        if lasts and not begun and there.lacks(entry.subject, fact_id):
            last_seq = await _publish(client, *_said("begun"), last_seq, history_follows=True)
            begun = True
        if fact_id is None:
            unreadable += 1
        elif fact_id in there.ids:
            present += 1
        elif entry.subject in there.newer:
            outdated += 1
        else:
            last_seq = await _publish(client, entry.subject, entry.message, fact_id, last_seq)
            written += 1
    if begun or there.unfinished:
        await _publish(client, *_said("ended"), last_seq)
    return Restored(written, present, outdated, unreadable)


def entries(log: BinaryIO) -> Iterator[Entry]:
    """From the beginning; each is checked against the one before. Raises RestoreError."""
    log.seek(0)
    decoder = msgspec.json.Decoder(Entry)
    end = EMPTY
    while line := log.readline(LINE_BYTES_MAX):
        try:
            entry = decoder.decode(line)
            end = follows(end, entry)
        except UNREADABLE:
            raise RestoreError(f"the line after entry {end.n} can't be read") from None
        except ValueError as error:
            raise RestoreError(str(error)) from None
        yield entry


def _fact_id(entry: Entry) -> str | None:
    try:
        return read_fact(entry.subject, entry.message).id
    except UNREADABLE:
        return None


class _There(NamedTuple):
    """What the stream has."""

    last_seq: int
    ids: set[str]
    """Of the log's facts."""
    newer: set[str]
    """Subjects of facts that the log hasn't."""
    unfinished: bool
    """Whether a run was stopped before its end."""

    def lacks(self, subject: str, fact_id: str | None) -> bool:
        return fact_id not in self.ids and subject not in self.newer


async def _present(client: Client, in_log: set[str]) -> _There:
    ids: set[str] = set()
    newer: set[str] = set()
    unfinished = False
    last_seq = (await streams.state(client, subjects.CONTROL_STREAM)).last_seq
    page = await history.read(client, 1)
    while page.messages:
        for stored in page.messages:
            last_seq = max(last_seq, stored.seq)
            try:
                fact = read_fact(stored.subject, stored.data)
            except UNREADABLE:
                continue
            if stored.subject == REBUILD:
                unfinished = fact.action == "begun"
            elif fact.id in in_log:
                ids.add(fact.id)
            else:
                newer.add(stored.subject)
        page = await history.read(client, page.messages[-1].seq + 1)
    return _There(last_seq, ids, newer, unfinished)


def _said(action: str) -> tuple[str, bytes, str]:
    """(subject, message, id) of the fact that history follows ("begun"), or that it is whole
    ("ended").
    """
    fact = ControlFact(new_id(), unix_ms(), "rebuild", "control", action, TOLLGATE, None, None)
    return REBUILD, encode_control(fact), fact.id


async def _publish(
    client: Client, subject: str, message: bytes, fact_id: str, last_seq: int, *, history_follows: bool = False
) -> int:
    """Only if nobody has written since we looked. Returns its sequence."""
    headers = {
        "Nats-Msg-Id": fact_id,
        "Nats-Expected-Stream": subjects.CONTROL_STREAM,
        "Nats-Expected-Last-Sequence": str(last_seq),
    }
    if history_follows:
        headers[RESTORING] = "1"
    if subject.startswith(subjects.ENDING):  # the broker drops it after a while
        headers["Nats-TTL"] = f"{KEPT_S}s"
    answer = await client.request(subject, message, timeout=PUBLISH_TIMEOUT_S, headers=headers)
    ack = streams.decode_ack(answer.data)
    if ack.error is not None or ack.seq <= last_seq:
        raise RestoreError("a fact was refused: somebody else writes, or the broker does. Run it again")
    return ack.seq
