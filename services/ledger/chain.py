"""The audit log: every control fact, in CONTROL's order, each row's hash covering its bytes and the
row before.

    sha256(n) = SHA-256( sha256(n - 1) ‖ n ‖ seq ‖ length of subject ‖ subject ‖ message )

n and seq as 8 bytes, the length as 4, big-endian; sha256(0) is 32 zero bytes. The message is the
fact exactly as policy wrote it, so the log can be checked, and the stream rebuilt from it, with
nothing else at hand.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from services.ledger import sanitize
from services.ledger.facts_in import Anomaly
from services.ledger.message import Message
from shared.audit_chain import EMPTY, Link, digest, link
from shared.decoding import UNREADABLE
from shared.facts import ControlFact, decode_control

__all__ = ["EMPTY", "Link", "digest", "link"]

READ_COLUMNS = (
    "fact_id", "at_ms", "kind", "entity_id", "action", "actor_key_sha256", "actor_user_id", "actor_role",
    "on_behalf_of", "requester_ip", "before", "after",
)  # fmt: skip
"""Those that are read from the message, for queries."""
COLUMNS = ("n", "previous_sha256", "sha256", "seq", "subject", "message", *READ_COLUMNS)


class Chained(NamedTuple):
    rows: list[tuple[Any, ...]]
    end: Link
    anomalies: list[Anomaly]
    duplicates: int


def extend(messages: Iterable[Message], last: Link, known: dict[str, list[bytes]]) -> Chained:
    """Messages as rows behind `last`. Pure.

    Args:
        known: messages of the audit log by fact id, of the ids in `messages`. The very same message
            again is a duplicate (the stream was rebuilt from the log); another one with that id is
            recorded, and an anomaly.
    """
    rows: list[tuple[Any, ...]] = []
    anomalies: list[Anomaly] = []
    duplicates = 0
    seen = {fact_id: list(messages) for fact_id, messages in known.items()}
    for message in messages:
        fact = read(message.data)
        if fact is None:
            anomalies.append(Anomaly("unreadable", message.seq, message.subject, "control fact", message.data))
        else:
            same_id = seen.setdefault(fact.id, [])
            if message.data in same_id:
                duplicates += 1
                continue
            if same_id:
                anomalies.append(
                    Anomaly("conflict", message.seq, fact.id, "another control fact of this id", message.data)
                )
            same_id.append(message.data)
        subject = sanitize.for_people(message.subject)
        previous, last = last, link(last, message.seq, subject, message.data)
        rows.append(
            (
                last.n,
                previous.sha256,
                last.sha256,
                message.seq,
                subject,
                message.data,
                *read_columns(fact),
            )
        )
    return Chained(rows, last, anomalies, duplicates)


def read(data: bytes) -> ControlFact | None:
    try:
        return decode_control(data)
    except UNREADABLE:
        return None


def read_columns(fact: ControlFact | None) -> tuple[Any, ...]:
    """READ_COLUMNS of a message."""
    if fact is None:
        return (None,) * 12
    actor = fact.actor
    texts: tuple[str | None, ...] = (
        fact.id, fact.kind, fact.entity_id, fact.action,
        actor.key_sha256, actor.user_id, actor.role, fact.on_behalf_of, fact.requester_ip,
    )  # fmt: skip
    if not sanitize.storable(texts):
        texts = tuple(None if text is None else sanitize.text(text) for text in texts)
    at_ms = sanitize.bounded(fact.at_ms, 0, sanitize.MS_MAX)
    return (texts[0], at_ms, *texts[1:], _json_text(fact.before), _json_text(fact.after))


def _json_text(value: Any) -> str | None:
    return None if value is None else sanitize.json_text(value)[0]
