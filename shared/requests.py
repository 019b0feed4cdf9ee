"""Questions on the bus and their answers: msgpack, request-reply, every one with a deadline at the
asker.

An answer to policy carries the CONTROL sequence it was made at; a question carries the highest its
asker has seen.
"""

from typing import Any

import msgspec

from shared.facts import Caller, GuardrailOutcome
from shared.grant import Denial, Grant
from shared.ids import DeploymentId, KeyDigest


class DecideRequest(msgspec.Struct, frozen=True, array_like=True):
    """May this credential take this route with this model? Subject `policy.decide`."""

    key_sha256: KeyDigest | None
    """None: the client sent no credential."""
    route: str
    """As in the edge's route table, without the /v1 twin: `/chat/completions`, `/spend/tags`."""
    model: str = ""
    """Empty where a route has no model."""
    min_control_seq: int = 0
    """Answer at this CONTROL sequence or later: catch up first, or answer `behind`."""
    credential_shape: str = "sk"
    """What kind of credential was digested: sk, jwt, other. Never the credential."""
    claims: bytes = b""
    """JSON: what a token says that the asker has verified; empty: the credential is no such
    token.
    """
    team_id: str | None = None
    """With claims: the team that the caller asks for."""
    customer_id: str | None = None
    """Ask about this customer alone: may calls be made for them, and to which models (a Grant's
    `models`)?
    """
    requester_ip: str | None = None
    """The client's address, where the asker doesn't look at rules about addresses itself."""


class DecideReply(msgspec.Struct, frozen=True, array_like=True):
    decision: Grant | Denial


class ShownRequest(msgspec.Struct, frozen=True, array_like=True):
    """Entities of a kind, as they are: what edges act on by themselves, tags and budgets for the
    ledger. Subject `policy.shown`.
    """

    kind: str
    min_control_seq: int = 0
    only: str = ""
    """That alone whose subject ends with this."""
    after: str = ""
    """Those after this one, by id."""
    ids: list[str] = []
    """Of these alone, as many as are there. Empty: of all."""


class ShownReply(msgspec.Struct, frozen=True, array_like=True):
    entities: list[dict[str, Any]]
    control_seq: int
    more_after: str = ""
    """Not all of them went into one message: ask again for those after this one."""
    seqs: list[int] = []
    """Of each entity: the sequence of the fact that made it what it is."""


class AdminRequest(msgspec.Struct, frozen=True, array_like=True):
    """A management call (`/key/generate`, `/team/info` ...). Subject `policy.admin`.

    Raw keys never travel: the edge has replaced every `sk-...` in query and body by its digest, and
    for /key/generate has minted the key and put `token` (digest) and `key_name` into the body.
    """

    key_sha256: KeyDigest | None
    route: str
    query: dict[str, str]
    body: dict[str, Any]
    on_behalf_of: str | None = None
    requester_ip: str | None = None
    min_control_seq: int = 0
    deadline_at_ms: int = 0
    """Unix milliseconds; 0: none. Past it the asker has told its client that the outcome is
    unknown: a command that comes later still (its replica was stopped, or the bus slow) must not
    undo what was confirmed since."""
    params: dict[str, str] = {}
    """Of the path, digested likewise."""
    idempotency_key: str | None = None
    """The client's `Idempotency-Key`: a call that comes again with it is answered as the first was,
    and changes nothing.
    """
    claims: bytes = b""
    team_id: str | None = None
    """As in DecideRequest."""
    vouched: bool = False
    """The edge itself asks, for somebody it has seen come in: only for what commands/sessions.py
    has, and no route leads there.
    """
    stored_keys: str = ""
    """Where keys are stored in a secret manager: `plan`: do nothing yet, and say what it would mean
    for stored keys; `told`: do it, and say so too."""


class KeyMove(msgspec.Struct, frozen=True, array_like=True):
    """What a command means for a key that is stored in a secret manager: by its digests and
    aliases, before and after.
    """

    before: KeyDigest | None
    """None: the key is new."""
    alias_before: str | None
    after: KeyDigest | None
    """None: the key is gone."""
    alias: str | None
    place_before: dict[str, str] = {}
    """`secret_manager_settings` of its team."""
    place: dict[str, str] = {}


class AdminReply(msgspec.Struct, frozen=True, array_like=True):
    """The HTTP answer, in LiteLLM's shape. A refusal is a reply with its status and error body."""

    status: int
    body: bytes
    """JSON."""
    control_seq: int
    changed: list[str] = []
    """Subjects this call wrote: the edge drops what depends on them before it answers its
    client.
    """
    headers: dict[str, str] = {}
    """Further lines of the answer's head."""
    moves: list[KeyMove] = []
    """Where `stored_keys` asked for them."""


class SpentBy(msgspec.Struct, frozen=True, array_like=True):
    """Whose spend is asked for: the sum over these values."""

    dimension: str
    """key (values are digests), team, user, customer, tag, model ...; total, whose value is
    empty.
    """
    values: list[str]
    since: str = ""
    """The first day that counts, in ISO 8601 (UTC); empty: all days, and what was spent before they
    came here.
    """


class SpentRequest(msgspec.Struct, frozen=True, array_like=True):
    """What has the book of these? Subject `ledger.spent`."""

    of: list[SpentBy]


class SpentReply(msgspec.Struct, frozen=True, array_like=True):
    picousd: list[str]
    """One sum an entry, as decimal digits: it may be more than 64 bits hold."""


class NoteRequest(msgspec.Struct, frozen=True, array_like=True):
    """Record something an operator or the ledger did, as a control fact. Subject `policy.note`; see
    services/policy/notes.py for which kinds.
    """

    kind: str
    """hold, retention, export, checkpoint, restore, login, secret_access."""
    entity_id: str
    action: str
    actor: Caller
    after: dict[str, Any] | None
    on_behalf_of: str | None = None
    requester_ip: str | None = None


class NoteReply(msgspec.Struct, frozen=True, array_like=True):
    control_seq: int
    """Of the fact."""


class ScreenRequest(msgspec.Struct, frozen=True, array_like=True):
    """May this be said? Subject `moderation.screen`."""

    guardrails: list[str]
    stage: str
    """pre_call, during_call, post_call."""
    texts: list[str]
    """What the guardrails read, in order: every message of every role, or the answer's texts."""
    call_type: str = ""
    customer_id: str | None = None
    kinds: list[str] = []
    """Of each text (services.edge.formats.base.Text); empty: all are `text`."""
    roles: list[str] = []
    """Of each text: system, user, assistant, tool, or ""; empty: unknown."""
    groups: list[int] = []
    """Texts of one number above 0 are parts of one message, one after the other; empty: each stands
    alone.
    """
    partial: bool = False
    """The texts are the newest part of a stream and may go on: the verdict says from where on they
    may be the start of something.
    """
    names: list[str] = []
    """Of each text the name it stands under in an object of the caller's own (`{"password": "x"}`),
    or ""; empty: none has one.
    """


class Redaction(msgspec.Struct, frozen=True, array_like=True):
    """Replace `texts[text][start:end]` (Unicode code points)."""

    text: int
    start: int
    end: int
    replacement: str


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """action: allow, redact, block, error. Where several guardrails speak, block beats error beats
    redact beats allow.
    """

    action: str
    outcomes: list[GuardrailOutcome]
    message: str = ""
    """For the client, when blocked: LiteLLM's wording, e.g. `Keyword banned. Keyword=hello`."""
    status: int = 400
    redactions: list[Redaction] = []
    """Sorted by text and start, none overlapping another."""
    open_from: list[int] = []
    """Of each text of a `partial` question: what begins at or after this may be the start of a
    finding. Empty: nothing is open.
    """


class ServicesRequest(msgspec.Struct, frozen=True, array_like=True):
    """How are the services that guardrails ask? Subject `moderation.services`; one replica answers
    for itself.
    """


class ServiceState(msgspec.Struct, frozen=True, array_like=True):
    guardrail: str
    needs: str
    """For people."""
    circuit: str
    """closed; open: its `on_error` answers at once; trying: the next question decides."""
    failures: int = 0
    """In a row, up to now."""
    error: str = ""
    """Kind of the last failure; never what was said."""
    seconds_ago: float | None = None
    """When it was last asked; None: never."""


class ServicesReply(msgspec.Struct, frozen=True, array_like=True):
    services: list[ServiceState]


class CountRequest(msgspec.Struct, frozen=True, array_like=True):
    """How many tokens are these texts? Subject `moderation.count`. Only asked where a provider gave
    no usage.
    """

    model: str
    texts: list[str]


class CountReply(msgspec.Struct, frozen=True, array_like=True):
    tokens: list[int]
    """One number a text."""


class DecodeTokensRequest(msgspec.Struct, frozen=True, array_like=True):
    """What do these token ids say? Subject `moderation.tokens`."""

    model: str
    prompts: list[list[int]]


class DecodeTokensReply(msgspec.Struct, frozen=True, array_like=True):
    texts: list[str] | None
    """None: nobody here knows the model's tokenizer, or an id is none of its."""


class KeywordsRequest(msgspec.Struct, frozen=True, array_like=True):
    """Which keywords does this guardrail look for? Subject `moderation.keywords`."""

    guardrail: str


class KeywordsReply(msgspec.Struct, frozen=True, array_like=True):
    version: str = ""
    """As its outcomes say it (`GuardrailOutcome.rules`); "": it goes by no list, or by one too long
    to tell.
    """
    keywords: list[str] = []
    homoglyphs: bool = False


class RestNotice(msgspec.Struct, frozen=True, array_like=True):
    """A deployment failed, and rests. Subject `edge.rests`, from edge to edge: a hint, answered by
    nobody.
    """

    edge_id: str
    deployment_id: DeploymentId
    seconds: float
    """From now on."""


class Fault(msgspec.Struct, frozen=True, array_like=True, tag="fault.v1"):
    """The answer of a service that could not answer. Codes, not prose."""

    code: str
    """bad_request (the asker sent what we can't read), behind (not caught up in time), unavailable,
    internal, too_large (the answers of a bundle together)."""
