"""Look, or call once and keep: what becomes of a request while there is a cache.

Equal requests at the same time call a provider once (single flight): the first one looks and calls,
the others wait until it is over and get its answer, whatever became of the store. When it brought
nothing to keep, the next one calls, so nobody waits longer than for one call at a time of theirs
and of each before.
"""

import asyncio
from collections.abc import Callable

import msgspec

from services.edge import answers, own_headers
from services.edge.account import Account
from services.edge.asked import Asked
from services.edge.attempts import Attempts
from services.edge.cache.control import Control
from services.edge.cache.state import Cache
from services.edge.cache.store import ENTRY_BYTES_MAX, Kept
from services.edge.http import Answer, WholeAnswer
from services.edge.parts import Parts
from services.edge.series import SERIES
from shared.money import format_usd

DONE = b"data: [DONE]\n\n"
PIECE_BYTES = 65_536
FLIGHTS_MAX = 10_000
WAIT_S = 600.0

MakeAttempts = Callable[[Parts, Asked], Attempts]
"""Those that ask a provider."""


async def serve(parts: Parts, cache: Cache, asked: Asked, attempts: MakeAttempts) -> Answer:
    wanted, digest = cache.control(asked), None
    if parts.own_hooks is None or not parts.own_hooks.change_answers:  # what they make may be for one caller alone
        more = own_headers.meant(asked.request.headers()) if parts.forwards_headers else b""
        digest = cache.digest(asked, wanted, more)
    if digest is None:
        return await attempts(parts, asked).run()
    if wanted.look and (kept := cache.store.here(digest)) is not None and _is_fresh(parts, kept, wanted):
        return await _replay(parts, cache, asked, digest, kept)
    return await _look(parts, cache, asked, attempts, wanted, digest)


async def _look(
    parts: Parts, cache: Cache, asked: Asked, attempts: MakeAttempts, wanted: Control, digest: str
) -> Answer:
    """Where it isn't here."""
    flights = cache.flights
    while wanted.look and wanted.keep and (flight := flights.get(digest)) is not None:
        try:
            async with asyncio.timeout(WAIT_S):
                found = await asyncio.shield(flight)
        except TimeoutError:
            break
        if found is not None:
            if _is_fresh(parts, found, wanted):
                return await _replay(parts, cache, asked, digest, found)
            break
    leads = wanted.keep and digest not in flights and len(flights) < FLIGHTS_MAX
    if not leads:
        kept = await cache.store.get(digest) if wanted.look else None
        if kept is not None and _is_fresh(parts, kept, wanted):
            return await _replay(parts, cache, asked, digest, kept)
        _missed(cache, asked)
        return await attempts(parts, asked).run()
    flights[digest] = mine = asyncio.get_running_loop().create_future()
    kept = None
    try:
        kept = await cache.store.get(digest) if wanted.look else None
        if kept is None or not _is_fresh(parts, kept, wanted):
            _missed(cache, asked)
            calling = attempts(parts, asked)
            answer, kept = await _call(parts, asked, calling, wanted.ttl_s)
            is_its_own = calling.account.fallback_to is None  # another model's is for who waits, and no longer
            if kept is not None and is_its_own:
                await cache.keep(digest, kept, wanted.ttl_s)
            return answer
    finally:
        del flights[digest]
        mine.set_result(kept)
    return await _replay(parts, cache, asked, digest, kept)


def _missed(cache: Cache, asked: Asked) -> None:
    cache.misses += 1
    caller, to = asked.permit.grant.caller, asked.permit.candidates[0]
    calls = SERIES.calls_of(
        caller, asked.route.name, asked.call.model, to.upstream_model, to.deployment_id, to.provider
    )
    calls.cache_misses += 1


async def _call(parts: Parts, asked: Asked, attempts: Attempts, ttl_s: float) -> tuple[Answer, Kept | None]:
    """The answer, and what of it is kept."""
    tape = asked.request.tape = Tape()
    answer = await attempts.run()
    if isinstance(answer, WholeAnswer):
        body, whole = answer.body, answer.status == 200
    else:
        body = tape.whole()
        whole = answer.status == 200 and answer.ended and body.endswith(DONE)
    account = attempts.account
    if whole and body and account.outcome == "success":
        now_ms = parts.clock.unix_ms()
        return answer, Kept(
            now_ms,
            body,
            _content_type(answer.headers),
            asked.call.stream,
            account.usage,
            account.cost_picousd,
            now_ms + int(ttl_s * 1000),
        )
    return answer, None


def _is_fresh(parts: Parts, kept: Kept, wanted: Control) -> bool:
    return wanted.age_s_max is None or parts.clock.unix_ms() - kept.at_ms <= wanted.age_s_max * 1000


class Tape:
    """What goes out of a stream, up to what may be kept."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes <= ENTRY_BYTES_MAX:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def whole(self) -> bytes:
        """Empty where it was too much."""
        return b"".join(self._pieces) if self._bytes <= ENTRY_BYTES_MAX else b""


async def _replay(parts: Parts, cache: Cache, asked: Asked, digest: str, kept: Kept) -> Answer:
    """The same answer again: a call of its own in the book, which cost nothing, and says what it
    saved.
    """
    cache.hits += 1
    metadata = {**asked.permit.spend_logs_metadata, "cache_hit": True, "cache_key": digest}
    if kept.cost_picousd is not None:
        metadata["saved_cache_cost"] = format_usd(kept.cost_picousd)
    asked.permit = msgspec.structs.replace(asked.permit, spend_logs_metadata=metadata)
    account = Account(parts, asked, asked.permit.candidates[0])
    opened = account.begin(1_000)
    passed = f"x-litellm-cache-key: {digest}\r\n"
    if account.content is not None:
        account.content.add(kept.body)
    if not kept.stream:
        account.settle("success", 200, kept.usage, free=True)
        answer = answers.whole(account.named(passed), kept.body, 200, kept.content_type.encode(), 0)
        await account.durable()
        return answer
    parts.recorder.append(opened)
    try:
        out = answers.stream(account.named(passed))
        await out.start(asked.request)
        events, last = kept.body[: -len(DONE)], kept.body[-len(DONE) :]
        for at in range(0, len(events), PIECE_BYTES):
            await out.write(events[at : at + PIECE_BYTES])
        await account.settle_durably("success", 200, kept.usage, free=True)
        await out.write(last)
        await out.end()
        return out
    finally:
        account.settle(
            "client_gone", 499, kept.usage, error_code="client_gone", free=True
        )  # nothing where it is settled already


def _content_type(headers: str) -> str:
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-type":
            return value.strip()
    return answers.JSON
