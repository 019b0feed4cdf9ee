"""What a call used where the provider didn't say: counted by us, and marked so."""

import asyncio
from collections.abc import Mapping

import msgspec
import structlog

from services.edge import texts
from services.edge.account import NOTHING, Account
from services.edge.answers import own
from services.edge.content import request as requests
from services.edge.formats import events
from services.edge.formats.base import Call
from services.edge.http import WholeAnswer
from services.edge.parts import Parts
from services.edge.screening import count_tokens
from shared.billing import Usage
from shared.errors import RefusedError

log = structlog.get_logger()


async def count(parts: Parts, account: Account, answered: list[str], source: str) -> Usage:
    """
    Args:
        answered: the texts of the answer.
        source: `estimated`, or `lower_bound` where the answer was cut off.
    """
    call, model = account.asked.call, account.candidate.upstream_model
    try:
        said, ids = texts.of_request(call)
    except RefusedError:
        said, ids = [call.body.decode("utf-8", "replace")], 0
    sent, received = await asyncio.gather(
        count_tokens(parts.bus_client, model, said), count_tokens(parts.bus_client, model, answered)
    )
    return Usage(sent + ids, received, source=source)


SAID = ("messages", "prompt", "contents")
SAID_BESIDE = ("system", "tools")
"""What a request's tokens are in."""


async def of_fields(parts: Parts, model: str, fields: Mapping[str, msgspec.Raw]) -> int:
    """How many tokens a request's texts are, estimated."""
    content = requests.of_fields({name: fields[name] for name in (*SAID, *SAID_BESIDE) if name in fields})
    found = [text for text in content.texts if text.kind != "key"]  # what fields are called
    counted = await count_tokens(parts.bus_client, model, [text.text for text in found if text.kind != "tokens"])
    return counted + texts.ids_in(found)


async def answer(parts: Parts, call: Call, model: str) -> WholeAnswer:
    """What Anthropic's clients ask before each turn, where nobody can be asked who knows."""
    counted = await of_fields(parts, model, call.fields)
    return own(msgspec.json.encode({"input_tokens": counted}), more="x-tollgate-count: estimated\r\n")


async def count_stream(parts: Parts, account: Account, reader: events.Reader, source: str) -> Usage:
    said = texts.of_events(reader.passed())
    return await count(parts, account, ["".join(said)] if said else [], source)


async def lower_bound(parts: Parts, account: Account, reader: events.Reader | None) -> Usage:
    """Of a call that was given up. Never raises: whatever happens, it has to be settled."""
    if not account.attempts:
        return NOTHING  # the provider was never called
    try:
        if reader is not None:
            return reader.usage or await count_stream(parts, account, reader, "lower_bound")
        return await count(parts, account, [], "lower_bound")
    except Exception:
        log.exception("abandoned_call_not_counted")
        return Usage(source="lower_bound")
