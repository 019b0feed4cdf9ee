"""Facts: what changed the system, and what cost money. Immutable, named in the past tense,
versioned by tag.

Rules:
- Fields are only ever appended, with a default. The wire is msgpack arrays, so a field's position
  is its name.
- A fact carries everything its row needs: `Settled` repeats its `Opened`, so that losing one of
  them, or seeing them in the wrong order, never leaves a hole.
- A TRAFFIC message is a list of facts (`pack` / `unpack`): one message per group commit, not per
  fact.
"""

import struct
from typing import Any

import msgspec

from shared.billing import Price, Usage
from shared.ids import DeploymentId, KeyDigest, RequestId


class Caller(msgspec.Struct, frozen=True, array_like=True):
    """Who called, as policy knows them."""

    key_sha256: KeyDigest | None = None
    """None: no key (open gateway, public route)."""
    key_alias: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    role: str = "internal_user"
    """LiteLLM's roles: proxy_admin, proxy_admin_viewer, internal_user, internal_user_viewer."""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="opened.v1"):
    """A call is about to go to a provider. On the wire before the provider sees a byte."""

    id: RequestId
    at_ms: int
    """Unix milliseconds, the edge's clock."""
    edge_id: str
    caller: Caller
    call_type: str
    """LiteLLM's names: acompletion, aembedding, atext_completion."""
    route: str
    model: str
    """As the client asked: the public model name (LiteLLM's model_group)."""
    deployment_id: DeploymentId
    provider: str
    upstream_model: str
    price: Price | None
    """None: nobody knows the price; the row is flagged unpriced, never silently zero."""
    stream: bool = False
    customer_id: str | None = None
    """The end user the caller names (`user`, or LiteLLM's headers)."""
    tags: list[str] = []
    spend_logs_metadata: dict[str, Any] = {}
    requester_ip: str | None = None
    user_agent: str | None = None
    guardrails: list[str] = []
    max_cost_picousd: int | None = None
    """The most it may cost; None where no bound is known."""
    litellm_call_id: str | None = None
    """The id the client chose with `x-litellm-call-id`, if it did."""
    expires_at_ms: int = 0
    """After this the ledger closes it as expired: the edge's own deadline for the call, plus
    slack.
    """
    session_id: str | None = None
    """What the client says it belongs to (`x-litellm-session-id`, `x-litellm-trace-id`)."""
    log_off: list[str] = []
    """Callbacks this request is not to be sent to (`x-litellm-disable-callbacks`); `*`: to none of
    them (`no-log`). The book has it all the same."""


class GuardrailOutcome(msgspec.Struct, frozen=True, array_like=True):
    """What one guardrail said, recorded by the code that ran it."""

    name: str
    stage: str
    action: str
    """allow, redact, block, or error (it could not answer; `on_error` decided); would_redact,
    would_block: it only watched.
    """
    duration_ms: float = 0.0
    cost_picousd: int = 0
    """What asking its service cost, at the configured price."""
    rules: str = ""
    """Version of the rules it went by; "" where it has none of its own."""


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled.v1"):
    """The end of an opened call. Acknowledged before the client has the last byte."""

    opened: Opened
    """With the deployment that really answered, where a fallback changed it."""
    ended_at_ms: int
    outcome: str
    """success, provider_error, client_gone, blocked, timeout, edge_error."""
    status: int
    """The HTTP status the client got, or would have got."""
    usage: Usage
    cost_picousd: int | None
    """None: unpriced."""
    first_byte_at_ms: int | None = None
    response_id: str | None = None
    """The provider's id (`chatcmpl-...`)."""
    response_model: str | None = None
    attempts: int = 1
    error_code: str | None = None
    guardrail_outcomes: list[GuardrailOutcome] = []
    flags: tuple[str, ...] = ()
    """Why usage or cost is a guess: `usage.flags`, and those of `money.Cost`. Empty: every part was
    read, reconciled and priced.
    """
    provider_request_id: str | None = None
    """What the provider calls the request (its head's `x-request-id`, ...): of the last attempt."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused.v1"):
    """Policy or moderation said no before anything was opened. The whole story of its request."""

    id: RequestId
    at_ms: int
    edge_id: str
    caller: Caller
    route: str
    model: str
    status: int
    error_code: str
    """The code of shared.errors, not prose."""
    refused_by: str
    """policy or moderation."""
    customer_id: str | None = None
    tags: list[str] = []
    requester_ip: str | None = None
    user_agent: str | None = None
    litellm_call_id: str | None = None
    guardrail_outcomes: list[GuardrailOutcome] = []
    call_type: str = ""
    spend_logs_metadata: dict[str, Any] = {}


TrafficFact = Opened | Settled | Refused

MESSAGE_BYTES_MAX = 1_000_000
"""Of one TRAFFIC message: under NATS's max_payload."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[TrafficFact])


def encode_fact(fact: TrafficFact) -> bytes:
    return _encoder.encode(fact)


# An edge writes two facts a call, and most of what they say is the same for all calls of one caller
# to one deployment. So that is encoded once (`encode_heading`), and what is in both facts of a call
# as well. The bytes are `encode_fact`'s: tests hold them to that.


def encode_heading(
    edge_id: str,
    caller: Caller,
    call_type: str,
    route: str,
    model: str,
    deployment_id: DeploymentId,
    provider: str,
    upstream_model: str,
    price: Price | None,
) -> bytes:
    """The fields of Opened from `edge_id` to `price`."""
    fields = (edge_id, caller, call_type, route, model, deployment_id, provider, upstream_model, price)
    return _encoder.encode(fields)[1:]


def encode_rest_of_opened(
    stream: bool,
    customer_id: str | None,
    tags: list[str],
    spend_logs_metadata: dict[str, Any],
    requester_ip: str | None,
    user_agent: str | None,
    guardrails: list[str],
    max_cost_picousd: int | None,
    litellm_call_id: str | None,
    expires_at_ms: int,
    session_id: str | None,
    log_off: list[str],
) -> bytes:
    """The fields of Opened from `stream` on."""
    return _encoder.encode(
        (
            stream, customer_id, tags, spend_logs_metadata, requester_ip, user_agent, guardrails, max_cost_picousd, litellm_call_id,
            expires_at_ms, session_id, log_off,
        )
    )[1:]  # fmt: skip


def encode_opened(id: RequestId, at_ms: int, heading: bytes, rest: bytes) -> bytes:
    """As `encode_fact` of the same Opened."""
    return b"%b%b%b%b" % (_OPENED, _encoder.encode((id, at_ms))[1:], heading, rest)


def encode_settled(
    opened: bytes,
    ended_at_ms: int,
    outcome: str,
    status: int,
    usage: Usage,
    cost_picousd: int | None,
    first_byte_at_ms: int | None,
    response_id: str | None,
    response_model: str | None,
    attempts: int,
    error_code: str | None,
    guardrail_outcomes: list[GuardrailOutcome],
    flags: tuple[str, ...],
    provider_request_id: str | None,
) -> bytes:
    """As `encode_fact` of the same Settled. `opened`: encoded."""
    fields = (
        ended_at_ms, outcome, status, usage, cost_picousd, first_byte_at_ms, response_id, response_model, attempts, error_code,
        guardrail_outcomes, flags, provider_request_id,
    )  # fmt: skip
    return b"%b%b%b" % (_SETTLED, opened, _encoder.encode(fields)[1:])


def _start(kind: type[msgspec.Struct], tag: str) -> bytes:
    """Of a fact: how many fields follow, and its tag."""
    count = 1 + len(kind.__struct_fields__)
    return (bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)) + _encoder.encode(tag)


_OPENED, _SETTLED = _start(Opened, "opened.v1"), _start(Settled, "settled.v1")


def pack(encoded_facts: list[bytes]) -> bytes:
    """A TRAFFIC message of facts already encoded: a msgpack array of them, without encoding
    anything again.
    """
    return b"\xdd" + struct.pack(">I", len(encoded_facts)) + b"".join(encoded_facts)


def unpack(message: bytes) -> list[TrafficFact]:
    """Raises msgspec.DecodeError (ValidationError included) when the bytes are no list of facts."""
    try:
        return _decoder.decode(message)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"unreadable: {type(error).__name__}") from None


class ControlFact(msgspec.Struct, frozen=True, tag="control.v1"):
    """Something was changed, by whom, from what to what. The audit log is the stream of these.

    The subject is `control.<kind>.<token of entity_id>`. A deleted entity's last fact has `after`
    None.
    """

    id: str
    at_ms: int
    kind: str
    """key, team, alias; later user, customer, model, budget, setting."""
    entity_id: str
    action: str
    """created, updated, deleted, blocked, unblocked, rotated (LiteLLM's words)."""
    actor: Caller
    """Authenticated."""
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    """The entity as a JSON object (shared.entities). A key's plaintext or digest-breaking detail is
    never in it.
    """
    on_behalf_of: str | None = None
    """Whom the actor claims to act for (`litellm-changed-by`): a claim, recorded beside the actor,
    never instead.
    """
    requester_ip: str | None = None


_control_encoder = msgspec.json.Encoder()
_control_decoder = msgspec.json.Decoder(ControlFact)


def encode_control(fact: ControlFact) -> bytes:
    """JSON, so that an auditor reads the stream with any tool."""
    return _control_encoder.encode(fact)


def decode_control(message: bytes) -> ControlFact:
    """Raises msgspec.DecodeError (ValidationError included) when the bytes are no control fact."""
    try:
        return _control_decoder.decode(message)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"unreadable: {type(error).__name__}") from None
