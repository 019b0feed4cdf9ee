"""Publishing a command's facts: all of them or none, each only where its command was planned.

One fact is one JetStream message; several are an atomic batch (NATS 2.12 and later), which the
stream commits whole or not at all. Each carries the last sequence of its subject its command saw;
when somebody was faster the broker refuses the batch. A batch costs the broker a few milliseconds
more than a message, which it stages on disk. Nothing is retried: a second try would need a second
look.
"""

import asyncio
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client

from services.policy.plan import Change
from shared.decoding import UNREADABLE
from shared.entities.replay import KEPT_S, REPLAY
from shared.errors import Refusal, RefusedError, book_unavailable, conflict, outcome_unknown
from shared.facts import Caller, ControlFact, encode_control
from shared.ids import new_id
from shared.streams import decode_ack
from shared.subjects import CONTROL_STREAM

DEADLINE_MS = 2_000
"""For the broker to acknowledge one batch."""
BATCH_FACTS_MAX = 500
"""The broker takes 1,000 by default."""
BATCH_BYTES_MAX = 4 * 1024 * 1024

WRONG_LAST_SEQUENCE = (10071, 10164)


class Publication(msgspec.Struct, frozen=True):
    """A fact, and where it must land."""

    subject: str
    expected_seq: int
    fact: ControlFact
    ttl_s: int | None = None
    """Then the broker drops it; None: never."""


def publication_of(
    change: Change,
    fact_id: str,
    at_ms: int,
    actor: Caller,
    *,
    on_behalf_of: str | None = None,
    requester_ip: str | None = None,
) -> Publication:
    """Of a change that was planned."""
    fact = ControlFact(
        id=fact_id,
        at_ms=at_ms,
        kind=change.kind,
        entity_id=change.entity_id,
        action=change.action,
        actor=actor,
        before=change.before,
        after=change.after,
        on_behalf_of=on_behalf_of,
        requester_ip=requester_ip,
    )
    return Publication(change.subject, change.expected_seq, fact, KEPT_S if change.kind == REPLAY.name else None)


def batches(publications: list[Publication]) -> list[list[tuple[Publication, bytes]]]:
    """Encoded, and cut where a batch would be too large. Only deletions of many keys are ever cut;
    their order makes every prefix harmless (`commands.teams.delete`)."""
    cut: list[list[tuple[Publication, bytes]]] = []
    size = 0
    for publication in publications:
        data = encode_control(publication.fact)
        if not cut or len(cut[-1]) >= BATCH_FACTS_MAX or size + len(data) > BATCH_BYTES_MAX:
            cut.append([])
            size = 0
        cut[-1].append((publication, data))
        size += len(data)
    return cut


async def publish(client: Client, batch: list[tuple[Publication, bytes]]) -> int:
    """Publish one batch and wait for the broker. Returns the last fact's sequence; its facts have
    consecutive ones.

    Raises RefusedError: `conflict` or `book_unavailable` (nothing was written), `outcome_unknown`
    (nobody can say).
    """
    if not client.is_connected:
        raise RefusedError(book_unavailable())
    batch_id = new_id() if len(batch) > 1 else None
    try:
        async with asyncio.timeout(DEADLINE_MS / 1000):
            for number, (publication, data) in enumerate(batch[:-1], 1):
                await client.publish(publication.subject, data, headers=_headers(publication, batch_id, number))
            publication, data = batch[-1]
            headers = _headers(publication, batch_id, len(batch), commit=True)
            reply = await client.request(publication.subject, data, timeout=DEADLINE_MS / 1000, headers=headers)
        ack = decode_ack(reply.data)
    except nats.errors.NoRespondersError:
        raise RefusedError(book_unavailable()) from None
    except (nats.errors.Error, OSError, TimeoutError, *UNREADABLE):
        raise RefusedError(outcome_unknown()) from None
    if ack.error is not None:
        raise RefusedError(_refusal(ack.error, batch[0][0].fact))
    return ack.seq


def _headers(publication: Publication, batch_id: str | None, number: int, *, commit: bool = False) -> dict[str, str]:
    headers = {
        "Nats-Msg-Id": publication.fact.id,
        "Nats-Expected-Stream": CONTROL_STREAM,
        "Nats-Expected-Last-Subject-Sequence": str(publication.expected_seq),
    }
    if publication.ttl_s is not None:
        headers["Nats-TTL"] = f"{publication.ttl_s}s"
    if batch_id is not None:
        headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
        if commit:
            headers["Nats-Batch-Commit"] = "1"
    return headers


def _refusal(error: dict[str, Any], first: ControlFact) -> Refusal:
    """Switch on err_code: the broker's descriptions are no contract."""
    if error.get("err_code") in WRONG_LAST_SEQUENCE:
        return conflict(f"This {first.kind}")
    return book_unavailable()
