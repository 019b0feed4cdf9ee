"""The two streams: how they are made, what their settings must be, and how anybody learns where one
stands.

A stream is known by when it was created, not by its length: one that was lost and rebuilt may be as
long as the old one.
"""

from typing import Any

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client

from shared import subjects
from shared.decoding import UNREADABLE
from shared.settings import SettingsError

log = structlog.get_logger()

API_TIMEOUT_S = 2.0
SHARDS_MAX = 64
BYTES_MIN_PER_SHARD = 4 * 1024 * 1024
"""Of TRAFFIC: its last recorded message (up to 1 MB) stays in each shard, and new ones must fit
beside it.
"""
CACHE_AGE_S_MAX = 7 * 86_400
"""Whatever an entry's own term is."""
PAYLOAD_AGE_S_MAX = 7 * 86_400
"""Should nobody take them into the book for so long, prompts end in the broker."""
SHARDS_KEY = "tollgate_shards"
"""In the stream's metadata: how many shards it has is its own property, read from it by who writes
and who records.
"""

NOT_FOUND = 10059
_NAME_IN_USE = 10058


class Ack(msgspec.Struct):
    """JetStream's answer to a publish."""

    seq: int = 0
    error: dict[str, Any] | None = None


decode_ack = msgspec.json.Decoder(Ack).decode


class StreamError(nats.errors.Error):
    """The broker refused; `code` is its err_code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


class StreamState(msgspec.Struct, frozen=True):
    created: str
    """When it was made: its identity."""
    first_seq: int
    last_seq: int
    messages: int
    bytes: int
    bytes_max: int
    """-1: no limit."""
    shards: int
    """Of TRAFFIC; 1 where nobody has said yet."""

    @property
    def gone(self) -> int:
        """Sequences whose message isn't there any more."""
        return self.last_seq - self.messages


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class Counted(msgspec.Struct, frozen=True):
    """CONTROL at one instant."""

    last_seq: int
    gone: int
    """Sequences whose message isn't there any more."""
    lasting: int
    """Facts that are there and never end by themselves."""


class _State(msgspec.Struct, frozen=True):
    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0


class _Reply(msgspec.Struct):
    config: dict[str, Any] = {}
    created: str = ""
    state: _State = _State()
    total: int = 0
    """How many subjects are as was asked."""
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Reply).decode


async def state(client: Client, stream: str) -> StreamState:
    """Where the stream stands, from whatever account one is in.

    Raises StreamError (NOT_FOUND: there is no such stream), nats.errors.Error, OSError or
    TimeoutError.
    """
    return _state_of(await _info(client, stream))


async def counted(client: Client) -> Counted | None:
    """It costs the broker time: 30 ms with 10,000 answers that are remembered. None: it changed at
    every try; the broker counts the messages first and the subjects a moment later. Raises as
    `state`.
    """
    for _ in range(COUNT_TRIES):
        found = await _info(client, subjects.CONTROL_STREAM, _COUNT_ENDING)
        then = _state_of(found)
        if await state(client, subjects.CONTROL_STREAM) == then:
            return Counted(then.last_seq, then.gone, then.messages - found.total)
    return None


COUNT_TRIES = 3
_COUNT_ENDING = {"subjects_filter": f"{subjects.ENDING}*", "offset": 1 << 40}
"""Beyond all of them: they are counted, not listed."""


async def _info(client: Client, stream: str, body: dict[str, Any] | None = None) -> _Reply:
    try:
        return await _ask(client, subjects.state(stream), body)
    except nats.errors.NoRespondersError:  # no such door: the account is the stream's own, or the broker's only one
        return await _ask(client, f"$JS.API.STREAM.INFO.{stream}", body)


async def ensure_control(client: Client, replicas: int = 0) -> StreamState:
    """The whole history of control facts: no age limit, nothing deleted.

    Args:
        replicas: of the stream; 0: as it is, one where it must be made.

    Raises SettingsError where the stream has a setting that can't be put right, and what `state`
    raises.
    """
    return await _ensure(
        client,
        {
            "name": subjects.CONTROL_STREAM,
            "subjects": [subjects.CONTROL_ALL],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": 0,
            "max_bytes": -1,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "deny_delete": True,
            "deny_purge": False,
            "allow_direct": True,
            "allow_atomic": True,  # a command's facts stand or fall together
            "allow_msg_ttl": True,
            "republish": {"src": subjects.CONTROL_ALL, "dest": subjects.CONTROL_FEED, "headers_only": True},
        },
        replicas,
    )


async def ensure_traffic(client: Client, max_bytes: int, shards: int = 1, replicas: int = 0) -> StreamState:
    """Facts on their way to the book. When it is full it refuses (`discard: new`) instead of
    dropping money; the ledger trims what is final.

    Args:
        max_bytes: where it must be made; an existing one keeps its own limit, unless its shards
            need more.
        shards: at least so many; an existing stream never gets fewer, since facts may wait in each.

    Raises as `ensure_control`.
    """
    known = await _if_there(client, subjects.TRAFFIC_STREAM)
    if known is not None:
        shards = max(shards, known.shards)
        max_bytes = known.bytes_max
    least = BYTES_MIN_PER_SHARD * shards
    if 0 <= max_bytes < least:
        if known is None:
            raise SettingsError(f"TOLLGATE_TRAFFIC_STREAM_BYTES_MAX must be at least {least} for {shards} shards")
        max_bytes = least
    return await _ensure(
        client,
        {
            "name": subjects.TRAFFIC_STREAM,
            "subjects": [subjects.TRAFFIC_ALL],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": 0,
            "max_bytes": max_bytes,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "deny_purge": False,
            "metadata": {SHARDS_KEY: str(shards)},
        },
        replicas,
    )


async def ensure_payload(client: Client, max_bytes: int, replicas: int = 0) -> StreamState:
    """Prompts and answers on their way to the book. When it is full it refuses, and edges' journals
    take them.

    Args:
        max_bytes: where it must be made; an existing one keeps its own limit.

    Raises as `ensure_control`.
    """
    known = await _if_there(client, subjects.PAYLOAD_STREAM)
    return await _ensure(
        client,
        {
            "name": subjects.PAYLOAD_STREAM,
            "subjects": [subjects.PAYLOAD_ALL],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": PAYLOAD_AGE_S_MAX * 1_000_000_000,
            "max_bytes": max_bytes if known is None else known.bytes_max,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "deny_purge": False,
        },
        replicas,
    )


async def ensure_cache(client: Client, max_bytes: int) -> StreamState:
    """The bucket of answers that edges share: in the broker's memory, for what is lost there is
    only a miss. The oldest ones go first.

    Raises as `ensure_control`.
    """
    return await _ensure(
        client,
        {
            "name": subjects.CACHE_STREAM,
            "subjects": [f"{subjects.CACHE_PREFIX}*"],
            "retention": "limits",
            "storage": "memory",
            "discard": "old",
            "max_age": CACHE_AGE_S_MAX * 1_000_000_000,
            "max_bytes": max_bytes,
            "max_msgs": -1,
            "max_msgs_per_subject": 1,
            "deny_delete": True,
            "deny_purge": False,
            "allow_direct": True,
            "allow_msg_ttl": True,
        },
        1,
    )


async def _if_there(client: Client, stream: str) -> StreamState | None:
    """As `state`; None: it must be made."""
    try:
        return await state(client, stream)
    except StreamError as error:
        if error.code != NOT_FOUND:
            raise
        return None


async def _ensure(client: Client, wanted: dict[str, Any], replicas: int) -> StreamState:
    """Make the stream, or put right what an existing one has otherwise. What isn't in `wanted`
    stays as its operator set it.
    """
    name = wanted["name"]
    fresh = {**wanted, "num_replicas": replicas or 1, "duplicate_window": 120 * 1_000_000_000}
    try:
        return _state_of(await _ask(client, f"$JS.API.STREAM.CREATE.{name}", fresh))
    except StreamError as refusal:
        if refusal.code != _NAME_IN_USE:
            raise
    found = await _ask(client, f"$JS.API.STREAM.INFO.{name}")
    if replicas:
        wanted = {**wanted, "num_replicas": replicas}
    wrong = {field: found.config.get(field) for field, value in wanted.items() if not _same(found.config, field, value)}
    if found.config.get("persist_mode", "default") == "async":  # acknowledged before it is on the disk
        wrong["persist_mode"], wanted = "async", {**wanted, "persist_mode": "default"}
    if not wrong:
        return _state_of(found)
    config = {**found.config, **wanted}
    config["metadata"] = {**_own_metadata(found.config), **wanted.get("metadata", {})}
    try:
        updated = await _ask(client, f"$JS.API.STREAM.UPDATE.{name}", config)
    except StreamError as refusal:
        raise SettingsError(
            f"the stream {name} has other settings than it must have, and the broker refuses to change them"
            f" ({refusal}): {', '.join(sorted(wrong))}. NATS 2.12 or later is needed"
        ) from None
    still = [field for field in wrong if not _same(updated.config, field, wanted[field])]
    if still:
        raise SettingsError(f"the stream {name} has other settings than it must have: {', '.join(sorted(still))}")
    log.warning("stream_settings_corrected", stream=name, were={k: str(v)[:80] for k, v in wrong.items()})
    return _state_of(updated)


def _same(config: dict[str, Any], field: str, value: object) -> bool:
    found = config.get(field)
    if isinstance(value, dict):
        return isinstance(found, dict) and all(found.get(key) == each for key, each in value.items())
    return found == value or (not found and not value)


def _own_metadata(config: dict[str, Any]) -> dict[str, str]:
    """Without what the broker itself wrote into it."""
    return {name: value for name, value in (config.get("metadata") or {}).items() if not name.startswith("_nats")}


def _state_of(reply: _Reply) -> StreamState:
    text = str((reply.config.get("metadata") or {}).get(SHARDS_KEY, "1"))
    shards = int(text) if text.isdigit() and 1 <= int(text) <= SHARDS_MAX else 1
    state, limit = reply.state, int(reply.config.get("max_bytes", -1))
    return StreamState(
        reply.created, state.first_seq, state.last_seq, state.messages, state.bytes, limit if limit > 0 else -1, shards
    )


async def _ask(client: Client, subject: str, body: dict[str, Any] | None = None) -> _Reply:
    payload = b"" if body is None else msgspec.json.encode(body)
    answer = await client.request(subject, payload, timeout=API_TIMEOUT_S if body is None else 5.0)
    try:
        reply = _decode(answer.data)
    except UNREADABLE:
        raise StreamError(0, "the broker's answer can't be read") from None
    if reply.error is not None:
        raise StreamError(reply.error.err_code, reply.error.description)
    return reply
