"""Management calls: to policy and back, without a raw key ever touching the bus.

A key is minted here, and its plaintext goes to the client from here: policy only sees the digest.
In everything else a caller sends, each raw key is replaced by its digest, and put back where the
answer echoes what was sent.
"""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from services.edge import answers, hub_health, reading
from services.edge.config import EdgeSettings
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.reading import Head
from services.edge.stored import bodies
from shared import admission, bus, errors, subjects
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.grant import Ask
from shared.ids import abbreviate_key, digest_key, new_virtual_key
from shared.requests import AdminReply, AdminRequest
from shared.routes import Match, Route

BODY_BYTES_MAX = 256 * 1024
VALUES_MAX = 20_000
"""In one body: each is looked at, here and by policy, and strangers send some, too."""
_KEY_FIELDS = frozenset({"key", "keys", "key_hash", "api_key", "token", "tokens", "new_key", "new_master_key"})
"""Where LiteLLM's API, or somebody who misread it, names a key: there a digest stands for it."""
_NAME_FIELDS = frozenset({"key_alias", "key_aliases", "search"})
"""Where somebody may put a key for a name."""
_RAW_KEY = re.compile(r"\s*(?:[Bb]earer\s+)?sk-[!-~]{13,}\s*")
"""What a value looks like that *is* a key: nothing else beside it, and as long as keys are."""
_CREDENTIALS = frozenset({"callback_vars"})
"""Fields that hold somebody else's credentials (`sk-lf-...`): they go to policy as they are, which
seals them.
"""
_MODELS_HEALTH = frozenset({"/public/model_hub", "/public/v1/model_hub"})
"""Whose rows say whether a model answers."""
QUERY_CHARACTERS_MAX = 1024
CUSTOM_KEY_CHARACTERS_MIN = 16
CUSTOM_KEY_CHARACTERS_MAX = 512


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    route, settings, grants = match.route, parts.settings, parts.grants
    head = reading.head(request)
    await parts.tokens.identify(head, request)
    said = parts.tokens.claims(head.digest)
    body = await _body(request, settings)
    if route.seals:
        await _need_admin(parts, head, route)
        body = bodies.sealed(parts.stored, match, body)
    query = _query(request.query)
    for name, value in query.items():
        if len(value) > QUERY_CHARACTERS_MAX:
            raise RefusedError(errors.bad_request(f"It is longer than {QUERY_CHARACTERS_MAX} characters", name[:80]))
    echo: dict[str, str] = {}
    """digest → what the client sent."""
    hidden_body, hidden_query, hidden_params = (_hide(each, echo) for each in (body, query, match.params))
    plaintext = _mint(route, body, hidden_body, may_choose=parts.keys_chosen)
    question = AdminRequest(
        key_sha256=head.digest,
        route=route.name,
        query=hidden_query,
        body=hidden_body,
        on_behalf_of=reading.text(request.header("litellm-changed-by")),
        requester_ip=head.ip,
        min_control_seq=grants.seen_seq,
        deadline_at_ms=parts.clock.unix_ms() + settings.edge_admin_timeout_ms,
        params=hidden_params,
        idempotency_key=reading.text(request.header("idempotency-key")),
        claims=b"" if said is None else said.claims,
        team_id=None if said is None else said.team_id,
    )
    try:
        reply = await ask(parts, question, route, plaintext)
    except bus.BusError as error:
        sent_a_change = error.code == "timeout" and route.mutates
        raise RefusedError(errors.outcome_unknown() if sent_a_change else errors.policy_unavailable()) from None
    if reply.status < 400:
        request.recognised()
    for subject in reply.changed:
        grants.forget(subject, reply.control_seq)
        parts.customers.forget(subject, reply.control_seq)
    if any(subject.startswith("control.pass_through.") for subject in reply.changed):
        await parts.named.refresh()
    for subject in reply.changed:
        parts.stored.changed(subject)
    await parts.stored.refresh()
    if plaintext is not None:
        echo[digest_key(plaintext)] = plaintext
    answer = _show(reply.body, echo) if reply.status < 400 else reply.body
    return answers.own(answer, reply.status, _lines(reply.headers))


async def _need_admin(parts: Parts, head: Head, route: Route) -> None:
    """What is wrong with a model or a credential tells what stands in our environment, and where
    addresses lead: nobody else hears of it, strangers least of all. Raises RefusedError.
    """
    decision = await parts.grants.decide(head.digest, head.shape, route.name, "")
    refusal = admission.admit(decision, Ask([], {}, head.ip), parts.clock.unix_ms())
    if refusal is None and decision.caller.role != "proxy_admin":
        refusal = errors.not_yours("Only proxy admins may change models and credentials")
    if refusal is not None:
        raise RefusedError(refusal)


async def ask(parts: Parts, question: AdminRequest, route: Route, plaintext: str | None) -> AdminReply:
    """Policy's answer; where keys are stored in a secret manager, it has them before. Raises
    BusError, RefusedError.
    """
    timeout_ms = parts.settings.edge_admin_timeout_ms
    if parts.kept_keys is not None and route.mutates:
        return await parts.kept_keys.ask(question, route, plaintext, timeout_ms)
    reply = await bus.ask(parts.bus_client, subjects.POLICY_ADMIN, question, AdminReply, timeout_ms)
    if route.name in _MODELS_HEALTH and reply.status < 400:
        reply = msgspec.structs.replace(reply, body=hub_health.completed(parts.checks, reply.body))
    return reply


def _lines(headers: dict[str, str]) -> str:
    """Rendered; whatever a name or value holds, it stays one line of printable ASCII."""
    return "".join(
        f"{name}: {''.join(c if ' ' <= c <= '~' else '?' for c in value)}\r\n"
        for name, value in headers.items()
        if name.isascii() and name.replace("-", "").isalnum()
    )


def _query(sent: str) -> dict[str, str]:
    """Of a name that comes twice, the first stands."""
    return dict(reversed(parse_qsl(sent, keep_blank_values=True)))


async def _body(request: Request, settings: EdgeSettings) -> dict[str, Any]:
    raw = await reading.body(request, BODY_BYTES_MAX, settings.edge_body_timeout_ms)
    if not raw.strip():
        return {}
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > VALUES_MAX:
        raise RefusedError(errors.bad_request(f"The request body has more than {VALUES_MAX} values"))
    try:
        body = msgspec.json.decode(raw, type=dict[str, Any])
        msgspec.msgpack.encode(body)  # as it will travel: integers past 64 bits can't
        return body
    except OverflowError:
        raise RefusedError(errors.bad_request("A number in the request body is too large")) from None
    except UnicodeDecodeError:
        raise RefusedError(errors.bad_request("The request body is not valid UTF-8")) from None
    except UNREADABLE as error:
        text = "The request body must be a JSON object" if "Expected `object`" in str(error) else str(error)
        if isinstance(error, RecursionError):
            text = "The request body is nested too deeply"
        raise RefusedError(errors.bad_request(text)) from None


def _hide(sent: dict[str, Any], echo: dict[str, str]) -> dict[str, Any]:
    """The same with every raw key replaced by its digest, at any depth: as a value, as a name of an
    object, in fields nobody knows. In LiteLLM's own fields for keys everything goes that has `sk-`
    in it."""

    for name in _NAME_FIELDS.intersection(sent):
        named = sent[name] if isinstance(sent[name], list) else [sent[name]]
        if any(isinstance(v, str) and v.startswith("sk-") and len(v) >= CUSTOM_KEY_CHARACTERS_MIN for v in named):
            raise RefusedError(errors.bad_request("This looks like a key, not a name; name a key by `key`", name))

    def digest_of(value: str) -> str:
        digest = digest_key(value)
        echo[digest] = value
        return digest

    def hidden(value: Any, is_key_field: bool) -> Any:
        if isinstance(value, str):
            if "sk-" in value and (is_key_field or _RAW_KEY.fullmatch(value)):
                return digest_of(value)
            return value
        if isinstance(value, list):
            return [hidden(item, is_key_field) for item in value]
        if isinstance(value, dict):
            return {
                hidden(name, False): item if name in _CREDENTIALS else hidden(item, is_key_field)
                for name, item in value.items()
            }
        return value

    try:
        return {
            hidden(name, False): value if name in _CREDENTIALS else hidden(value, name in _KEY_FIELDS)
            for name, value in sent.items()
        }
    except RecursionError:
        raise RefusedError(errors.bad_request("The request body is nested too deeply")) from None


def _mint(route: Route, sent: dict[str, Any], hidden: dict[str, Any], *, may_choose: bool = True) -> str | None:
    """Where a key is made: the plaintext, new or as the caller chose; its digest and short name go
    into `hidden`.
    """
    if not route.mints:
        return None
    chosen = sent.get(route.mints)
    if chosen is None:
        chosen = new_virtual_key()
    elif not may_choose:
        raise RefusedError(errors.key_not_chosen(route.mints))
    elif not isinstance(chosen, str) or not chosen.startswith("sk-"):
        raise RefusedError(
            errors.bad_request("Invalid key format. LiteLLM Virtual Key must start with 'sk-'.", route.mints)
        )
    elif not CUSTOM_KEY_CHARACTERS_MIN <= len(chosen) <= CUSTOM_KEY_CHARACTERS_MAX or not chosen.isprintable():
        raise RefusedError(
            errors.bad_request(
                f"A key must be {CUSTOM_KEY_CHARACTERS_MIN} to {CUSTOM_KEY_CHARACTERS_MAX} characters", route.mints
            )
        )
    hidden.pop(route.mints, None)
    hidden["token"] = digest_key(chosen)
    hidden["key_name"] = abbreviate_key(chosen)
    return str(chosen)


def _show(body: bytes, echo: dict[str, str]) -> bytes:
    """Put back what the client sent where the answer names it: `key`, `id`, `deleted_keys`."""
    if not echo:
        return body
    answer = msgspec.json.decode(body)
    if isinstance(answer, dict):
        for name in ("key", "id", "deleted_keys"):
            value = answer.get(name)
            if isinstance(value, str):
                answer[name] = echo.get(value, value)
            elif isinstance(value, list):
                answer[name] = [echo.get(v, v) if isinstance(v, str) else v for v in value]
    return msgspec.json.encode(answer)
