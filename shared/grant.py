"""A decision is a grant: everything policy knows about a caller, folded and ready to apply to one
request.

`shared.admission.permit` is the one pure function that applies it; clock and randomness are
arguments.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.billing import Price
from shared.errors import Refusal
from shared.facts import Caller
from shared.ids import DeploymentId

TAGS_MAX = 64
TAG_CHARACTERS_MAX = 256


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """One deployment a call may go to. Its address and secret stay in the edge's own
    configuration.
    """

    deployment_id: DeploymentId
    provider: str
    upstream_model: str
    price: Price | None = None
    weight: float = 1.0
    order: int = 0
    """Lower goes first; equal orders are drawn by weight."""
    tpm: int | None = None
    """Tokens a minute it is said to take: what usage-based routing goes by."""
    rpm: int | None = None
    """Requests a minute."""
    input_tokens_max: int | None = None
    """Its context window; None: not known."""
    revision: int = 0
    """Of one that was added by API: the CONTROL sequence it was last changed at. An edge that knows
    an older one asks first. 0: the file's.
    """
    tags: list[str] = []
    """Tags whose `models` name it (/tag/new), besides those that its own entry has: what tag-based
    routing goes by.
    """


class Fallback(msgspec.Struct, frozen=True, array_like=True):
    """Another model that a call may go to when all deployments of its own have failed."""

    model: str
    candidates: list[Candidate]
    reason: str = ""
    """What it is for: `context_window`, `content_policy`; empty: any failure."""


class GuardrailRef(msgspec.Struct, frozen=True, array_like=True):
    """A guardrail this caller's calls go through."""

    name: str
    stages: list[str]
    """pre_call, during_call, post_call."""
    on_error: str = "block"
    """block: 503 when it can't answer; allow: go on, recorded as unscreened."""
    deadline_ms: int = 1000
    window_characters: int = 0
    """How much of a stream must be held back so that a finding can't slip through between two
    chunks.
    """
    at_once: bool = False
    """It waits for nobody, so questions to it may travel together."""


class Rules(msgspec.Struct, frozen=True, array_like=True):
    """What every single request is held to, besides what its credential may do
    (shared/admission).
    """

    allowed_ips: list[list[str]] = []
    """Addresses and ranges: of the gateway, the key and the team, those that have any. Every list
    must let a client in.
    """
    enforced_params: list[str] = []
    """Parameters that a request must have: names, or paths with dots."""
    reject_clientside_tags: bool = False
    may_modify_guardrails: bool = True
    """Whether a request may send guardrail fields at all."""
    known_guardrails: dict[str, GuardrailRef] = {}
    """What a request may name, to be checked by it besides."""
    by_permission: dict[str, GuardrailRef] = {}
    """What a request turns on by `metadata.permissions.<name>: true`."""
    allowed_ips_of: list[str] = []
    """Whose each of the lists is: a control subject, or `config`."""
    enforced_params_of: list[str] = []
    """Whose each of the parameters is."""
    guardrails_fixed_by: str = ""
    """Who says that requests may not send guardrail fields."""


NO_RULES = Rules()


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant"):
    """Policy's yes to (credential, route, model)."""

    caller: Caller
    route: str
    model: str
    control_seq: int
    """The CONTROL sequence it was made at."""
    depends_on: list[str]
    """Control subjects it was folded from: a fact on one of them ends it. A trailing `.>` covers
    what is below.
    """
    candidates: list[Candidate] = []
    expires_at_ms: int | None = None
    """When the credential itself ends; None: never."""
    tags: list[str] = []
    """Key tags, then team tags, without repeats."""
    spend_logs_metadata: dict[str, Any] = {}
    """Key's merged over team's."""
    guardrails: list[GuardrailRef] = []
    models: list[str] = []
    """All model names the caller may use; only on the route that lists them."""
    reject_clientside_tags: bool = False
    add_user_agent_tags: bool = False
    """Nobody acts on it: it keeps its place in the array for a service of another version."""
    max_request_size_mb: float | None = None
    max_response_size_mb: float | None = None
    """Of the key and its team, the smaller one; those of general_settings are the edge's own."""
    passthrough_routes: list[str] | None = None
    """`allowed_passthrough_routes` of the key, else of its team: paths, each with what is below it.
    None: all.
    """
    passthrough_denied: list[str] = []
    """`denied_passthrough_routes` of both."""
    cache: dict[str, Any] = {}
    """`metadata.cache` of the key, else of its team: controls that win over a request's."""
    cache_controls: list[str] | None = None
    """`allowed_cache_controls`: those that a request may have; None: all."""
    fallbacks: list[Fallback] = []
    """In the order to try; what the configuration says for this model."""
    rules: Rules = NO_RULES
    content: str = ""
    """What becomes of prompts and answers (shared.payloads): empty: nothing; `sent`: sinks get
    them; `kept`: the book keeps them.
    """


class Denial(msgspec.Struct, frozen=True, array_like=True, tag="denial"):
    """Policy's no. Cached like a grant, and dropped like one."""

    refusal: Refusal
    control_seq: int
    depends_on: list[str]
    caller: Caller = Caller()
    rule: str = "credential"
    """Which rule refused (shared.admission.ORDER)."""
    rules: Rules = NO_RULES
    """What the edge looks at before that one."""


class Ask(msgspec.Struct, frozen=True):
    """What the decision about one request needs to know of it. Whatever isn't given doesn't
    bind.
    """

    tags: list[str]
    """The request's own, from body and header."""
    spend_logs_metadata: dict[str, Any]
    ip: str | None = None
    """The client's address."""
    fields: dict[str, msgspec.Raw] | None = None
    """The body's top level, split. None: the route has no body that parameters could be demanded
    of.
    """
    model: str = ""
    customer_id: str | None = None
    customer: Grant | Denial | None = None
    """Policy's decision about the customer alone, where the request names one."""


class Permit(msgspec.Struct, frozen=True):
    """A grant applied to one request."""

    grant: Grant
    candidates: list[Candidate]
    """In the order to try."""
    tags: list[str]
    spend_logs_metadata: dict[str, Any]
    guardrails: list[GuardrailRef] = []
    """The grant's, and those the request names itself."""


def merge_tags(first: list[str], then: list[str]) -> list[str]:
    """Union in order, without repeats."""
    return list(dict.fromkeys((*first, *then)))


def draw_order(candidates: list[Candidate], random: Callable[[], float]) -> list[Candidate]:
    """By `order`; within equal orders a weighted shuffle (Efraimidis-Spirakis), which is LiteLLM's
    simple-shuffle.
    """

    def sort_key(candidate: Candidate) -> tuple[int, float]:
        return candidate.order, -(random() ** (1.0 / max(candidate.weight, 1e-9)))

    return sorted(candidates, key=sort_key)
