"""Control facts as they are stored, from a sequence on: read page by page, with no consumer and
nothing kept at the broker.

The broker answers itself (its batched direct get), also in an account that has the door for it.
With replicas any of them may answer, one that is behind with less than there is; never with a hole.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import subjects

PAGE_MESSAGES_MAX = 500
PAGE_BYTES_MAX = 4 * 1024 * 1024
TIMEOUT_S = 5.0
_DIRECT = f"$JS.API.DIRECT.GET.{subjects.CONTROL_STREAM}"
_NS_PER_S = 1_000_000_000


class HistoryError(nats.errors.Error):
    """The page isn't what was asked for."""


class Stored(NamedTuple):
    seq: int
    at_ns: int
    """When the broker stored it: Unix nanoseconds."""
    subject: str
    data: bytes


class Page(NamedTuple):
    messages: list[Stored]
    pending: int
    """How many more the broker has."""


async def read(client: Client, from_seq: int, subject: str = subjects.CONTROL_ALL) -> Page:
    """The next messages of CONTROL at or after `from_seq`. Empty at the stream's end.

    Raises HistoryError, another nats.errors.Error, OSError or TimeoutError.
    """
    question = msgspec.json.encode(
        {
            "seq": max(1, from_seq),
            "batch": PAGE_MESSAGES_MAX,
            "max_bytes": PAGE_BYTES_MAX,
            "next_by_subj": subject,
        }
    )
    try:
        return await _ask(client, subjects.HISTORY_CONTROL, question)
    except nats.errors.NoRespondersError:  # no such door: the account is the stream's own, or the broker's only one
        return await _ask(client, _DIRECT, question)


async def _ask(client: Client, where: str, question: bytes) -> Page:
    messages: list[Stored] = []
    end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive(message: Msg) -> None:
        if end.done():
            return
        try:
            pending = _take(message, messages)
        except Exception as error:
            end.set_exception(error)
        else:
            if pending is not None:
                end.set_result(pending)

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=receive)
    try:
        await client.publish(where, question, reply=inbox)
        async with asyncio.timeout(TIMEOUT_S):
            return Page(messages, await end)
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()


def _take(message: Msg, messages: list[Stored]) -> int | None:
    """One part of a page. Returns how many messages are left, at the page's end."""
    headers = message.headers or {}
    status = headers.get("Status")
    if status == "503":
        raise nats.errors.NoRespondersError
    if status == "404":
        return 0
    if status == "204":
        return int(headers.get("Nats-Num-Pending", "0"))
    if status is not None:
        raise HistoryError(f"{status} {headers.get('Description', '')}"[:100])
    try:
        seq, previous = int(headers["Nats-Sequence"]), int(headers["Nats-Last-Sequence"])
        stored = Stored(seq, unix_ns(headers["Nats-Time-Stamp"]), headers["Nats-Subject"], message.data)
    except (KeyError, ValueError) as error:
        raise HistoryError(f"a message without its place: {error}") from None
    if messages and previous != messages[-1].seq:
        raise HistoryError(f"{seq} follows {previous}, where {messages[-1].seq} had come")
    messages.append(stored)
    return None


def unix_ns(text: str) -> int:
    """Of a time in UTC as RFC 3339 has it, to the nanosecond. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * _NS_PER_S + (int(fraction.ljust(9, "0")[:9]) if fraction else 0)
