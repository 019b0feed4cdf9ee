"""Responses that go on in the background: booked by what they used once they are over, whoever
fetches them.

`background: true` is answered before the work is done, so its answer says nothing of what it will
cost, and nobody may ever come to fetch the rest. The edge that had one made asks for it until it is
over, and settles the call then: its `opened` stands in the book till that, as of any call that
runs. Nobody else settles it, so it is booked once.

    added (on disk) → asked about, at once when a caller fetches it → settled (on disk) → durable → forgotten

The settled fact is on the disk before it is sent: after a crash in between the very same bytes go
again, which the book knows. What isn't over after `TERM_MS` is given up; the ledger closes it as
expired, its cost unknown.
"""  # noqa: W505

import asyncio
from typing import Any, Final

import msgspec
import structlog

from services.edge import account, metrics
from services.edge.account import NOTHING
from services.edge.formats.base import Call
from services.edge.formats.fields import says_true
from services.edge.own_ids import OwnId
from services.edge.parts import Parts
from services.edge.passthrough import relayed_request
from services.edge.passthrough.kept import KeptResponse
from services.edge.passthrough.kinds import KINDS, Kind
from services.edge.passthrough.running import WAIT_S, Kept, One
from services.edge.passthrough.undone import Undone
from services.edge.providers.base import CredentialsError, Target
from services.edge.series import SERIES
from services.edge.usage import native
from shared import errors
from shared.errors import RefusedError
from shared.facts import Opened, Settled, encode_fact
from shared.grant import Candidate
from shared.outbound import OutboundError

log = structlog.get_logger()

TERM_MS: Final = 24 * 3_600_000
WAIT_S_MAX: Final = 60.0
WAIT_SHARE: Final = 0.1
"""It is asked about again after so much of the time that it has run."""
AT_ONCE: Final = 8
ASKED_WITHIN_MS: Final = 30_000
READ_WITHIN_S: Final = 2 * WAIT_S_MAX
"""By then what is over has been read, by whichever edge had it made."""
_OVER: Final = {
    "completed": ("success", 200, None),
    "incomplete": ("success", 200, None),
    "failed": ("provider_error", 502, "provider_failed"),
    "cancelled": ("client_gone", 499, "cancelled"),
}
"""How it ended → outcome, status and error code of its fact."""
_RUNS: Final = ("queued", "in_progress")


class _Said(msgspec.Struct):
    """Of a response."""

    status: Any = None
    background: Any = None
    completed_at: Any = None
    model: Any = None


_said = msgspec.json.Decoder(_Said).decode


def is_wanted(call: Call) -> bool:
    """Whether a new response is to go on by itself."""
    return says_true(call.fields, "background")


async def asked_about(parts: Parts, kind: Kind, candidate: Candidate, response_id: str) -> None:
    """A caller asks about one, so it may be over. Raises RefusedError where it is to be deleted and
    nobody has read yet what it used: it could never be booked.
    """
    found = parts.running.of(response_id)
    if kind.of_response != "DELETE":
        for each in found:
            parts.running.fetched(each)
        return
    if found:
        for each in found:
            await _look(parts, each)
        if parts.running.of(response_id):
            raise RefusedError(errors.still_running())
        return
    target = parts.targets[candidate.deployment_id]
    try:  # another edge may have had it made
        status, body = await _asked(parts, target, candidate.upstream_model, response_id)
    except (OutboundError, CredentialsError):
        return
    said = _read(body) if status < 300 else _Said()
    if said.background is True and (said.status in _RUNS or _age_s(parts, said) < READ_WITHIN_S):
        raise RefusedError(errors.still_running())


async def run(parts: Parts) -> None:
    """Asks about those that are due, until it is cancelled."""
    running = parts.running
    while True:
        running.more.clear()
        now = parts.clock.seconds()
        due = sorted(running.all.values(), key=lambda each: each.due_at)[:AT_ONCE]
        ready = [each for each in due if each.due_at <= now]
        if ready:
            await asyncio.gather(*(_look(parts, each) for each in ready))
            continue
        try:
            async with asyncio.timeout(due[0].due_at - now if due else None):
                await running.more.wait()
        except TimeoutError:
            pass


async def _look(parts: Parts, one: One) -> None:
    """Never raises."""
    kept = one.kept
    async with one.lock:
        if parts.running.all.get(kept.opened.id) is not one:
            return
        try:
            if not kept.settled:
                await _ask(parts, kept)
            if kept.settled:
                await parts.recorder.append(kept.settled).wait_durable()
                await parts.running.forget(kept)
                return
        except (OutboundError, CredentialsError, TimeoutError) as error:
            log.warning("background_response_not_settled", call=kept.opened.id, error=type(error).__name__)
        except Exception:
            log.exception("background_response_not_settled", call=kept.opened.id)
        ran_ms = parts.clock.unix_ms() - kept.opened.at_ms
        if ran_ms > TERM_MS:
            log.error("background_response_given_up", call=kept.opened.id)
            await parts.running.forget(kept)
            return
        one.due_at = parts.clock.seconds() + min(WAIT_S_MAX, max(WAIT_S, ran_ms / 1000 * WAIT_SHARE))


async def _ask(parts: Parts, kept: Kept) -> None:
    """Whether it is over, and what it used."""
    opened = kept.opened
    target = parts.targets.get(opened.deployment_id)
    if target is None:  # it may come back
        return
    status, body = await _asked(parts, target, opened.upstream_model, kept.response_id)
    if status in (404, 410):  # somebody took it away: nobody will ever know
        kept.settled = _end(parts, opened, ("provider_error", status, f"provider_{status}"), _Said(), b"")
    elif status < 300 and (said := _read(body)).status in _OVER:
        kept.settled = _end(parts, opened, _OVER[said.status], said, body)
    if kept.settled:
        await parts.running.keep(kept)


async def _asked(parts: Parts, target: Target, model: str, response_id: str) -> tuple[int, bytes]:
    """Raises OutboundError, CredentialsError."""
    kind, about = KINDS["/responses/{response_id}"], KeptResponse(OwnId(b"", 0, model, response_id), "")
    sent = await relayed_request.made(kind, target, model, Call(b"", {}, model), None, None, None, about)
    async with relayed_request.stream(parts, target, sent, ASKED_WITHIN_MS, ASKED_WITHIN_MS) as answer:
        undone = Undone(answer)
        try:
            return answer.status, await undone.beginning(parts.settings.edge_answer_bytes_max)
        finally:
            undone.drop()


def _end(parts: Parts, opened: Opened, how: tuple[str, int, str | None], said: _Said, body: bytes) -> bytes:
    """The fact that settles it.

    Args:
        body: what the provider says of it; empty: nothing.
    """
    outcome, status, error_code = how
    usage = native.read("openai", body, provider=opened.provider)
    cost: int | None = None
    flags: tuple[str, ...] = ()
    if usage is not None:
        if outcome != "success":
            usage = msgspec.structs.replace(usage, source="lower_bound")
        found = account.cost_of(opened.price, usage)
        cost, flags = found.picousd, found.flags
    now_ms, over_at = parts.clock.unix_ms(), said.completed_at
    is_time = isinstance(over_at, int | float) and opened.at_ms <= over_at * 1000 <= now_ms
    fact = Settled(
        opened=opened,
        ended_at_ms=int(over_at * 1000) if is_time else now_ms,
        outcome=outcome,
        status=status,
        usage=usage or NOTHING,
        cost_picousd=cost,
        response_model=said.model[: account.ID_CHARACTERS_MAX] if isinstance(said.model, str) else None,
        error_code=error_code,
        flags=flags,
    )
    elapsed_s = (fact.ended_at_ms - opened.at_ms) / 1000
    SERIES.settled(fact, elapsed_s, elapsed_s, metrics.of_route(opened.route))
    return encode_fact(fact)


def _read(body: bytes) -> _Said:
    try:
        return _said(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said()


def _age_s(parts: Parts, said: _Said) -> float:
    """Since it was over."""
    at = said.completed_at
    return parts.clock.unix_ms() / 1000 - at if isinstance(at, int | float) else READ_WITHIN_S
