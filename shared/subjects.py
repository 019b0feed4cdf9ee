"""Every subject on the bus, and which service may use it. The broker's accounts and permissions are
made from this table (`shared.broker`).

control.<kind>.<token>     CONTROL stream   in policy's account: policy alone writes
feed.control.<kind>.<token>                 what the broker says of each stored control fact: its subject and sequence, not its content
traffic.<shard>            TRAFFIC stream   in ledger's account: edge writes, ledger consumes
payload.<shard>            PAYLOAD stream   likewise: prompts and answers, where somebody wants them kept
policy.decide  policy.admin  policy.note    request-reply, queue group `policy`
moderation.screen  moderation.count  moderation.tokens  moderation.services  moderation.keywords   request-reply, queue group `moderation`
ledger.spent                                request-reply, queue group `ledger`
edge.identity.<edge id>                     request-reply, answered by that edge: the key it signs its word with
edge.rests                                  edges tell each other which deployments rest; the ledger tells people
state.<stream>                              request-reply, answered by the broker: the stream's settings and where it stands
history.control                             request-reply, answered by the broker: control facts from a sequence on
$KV.tollgate_cache.<digest>                 KV_tollgate_cache, a key-value bucket in ledger's account: edges keep sealed answers there

Each service has an account of its own (edge's is the ledger's, see `home`), and a stream lives in
its owner's. Whoever asks names the subject that the answer goes to, and whoever makes a consumer
names the subject it delivers to; the broker writes there in their place, whatever their permissions
say. Inside an account of one's own that reaches nothing of anybody else: what crosses accounts are
the doors below, and answers come back through them under a name the broker gives.
"""  # noqa: W505

import hashlib
import re
import zlib

import msgspec

CONTROL_STREAM = "CONTROL"
TRAFFIC_STREAM = "TRAFFIC"
CACHE_STREAM = "KV_tollgate_cache"
CACHE_PREFIX = "$KV.tollgate_cache."
"""Of the answers that all edges share. The ledger makes the bucket: who may make a stream may have
it copy another one.
"""
CONTROL_ALL = "control.>"
TRAFFIC_ALL = "traffic.>"
PAYLOAD_STREAM = "PAYLOAD"
PAYLOAD_ALL = "payload.>"
FEED_PREFIX = "feed."
CONTROL_FEED = FEED_PREFIX + CONTROL_ALL
STATE_PREFIX = "state."
HISTORY_CONTROL = "history.control"
ENDING = "control.replay."
"""What is on these is no lasting fact: the broker drops it after its term."""

POLICY_DECIDE = "policy.decide"
POLICY_ADMIN = "policy.admin"
POLICY_NOTE = "policy.note"
POLICY_SHOWN = "policy.shown"
EDGE_IDENTITY_ALL = "edge.identity.*"
EDGE_RESTS = "edge.rests"
MODERATION_SCREEN = "moderation.screen"
MODERATION_COUNT = "moderation.count"
MODERATION_TOKENS = "moderation.tokens"
MODERATION_SERVICES = "moderation.services"
MODERATION_KEYWORDS = "moderation.keywords"
LEDGER_SPENT = "ledger.spent"

_ORDINAL = re.compile(r"-([0-9]{1,6})$")
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,80}")


def control(kind: str, entity_id: str) -> str:
    """The subject of an entity's control facts. Ids that aren't plain tokens are replaced by a
    digest, marked by `~`.
    """
    if _PLAIN_TOKEN.fullmatch(entity_id):
        return f"control.{kind}.{entity_id}"
    return f"control.{kind}.~{hashlib.sha256(entity_id.encode()).hexdigest()[:40]}"


def edge_identity(edge_id: str) -> str:
    """ValueError for what can't be one token."""
    if not _PLAIN_TOKEN.fullmatch(edge_id):
        raise ValueError("no edge's id")
    return f"edge.identity.{edge_id}"


def traffic(shard: int) -> str:
    return f"traffic.{shard}"


def payload(shard: int) -> str:
    return f"payload.{shard}"


def shard_of(edge: str, shards: int) -> int:
    """The shard an edge writes to, from what it is called: `edge-3` is the fourth of its like; any
    other name, by its checksum.
    """
    number = _ORDINAL.search(edge)
    return (int(number[1]) if number else zlib.crc32(edge.encode())) % shards


def inbox_prefix(service: str) -> str:
    """Each service hears only its own answers."""
    return f"_INBOX_{service}"


def state(stream: str) -> str:
    """Where the broker tells about a stream, in any account that has the door."""
    return STATE_PREFIX + stream.lower()


def is_inbox(subject: bytes) -> bool:
    """Whether an answer may go there. Anything else is a question whose answer would do something.

    `_R_`: the name a broker gives to an inbox in another account.
    """
    return subject.startswith((b"_INBOX", b"_R_."))


class Permissions(msgspec.Struct, frozen=True):
    """Of one service's user, inside its own account."""

    publish: list[str]
    subscribe: list[str]
    jetstream: bool = False
    """Whether its account has streams."""


class Door(msgspec.Struct, frozen=True):
    """What one account lets others use."""

    owner: str
    subject: str
    users: tuple[str, ...]
    name: str = ""
    """What its users call it; empty: the same."""
    feed: bool = False
    """Messages that flow to the users, instead of questions that flow to the owner."""
    many: bool = False
    """One question has several answers."""


DOORS: tuple[Door, ...] = (
    Door("policy", POLICY_DECIDE, ("edge", "ledger")),
    Door("policy", POLICY_ADMIN, ("edge",)),
    Door("policy", POLICY_NOTE, ("edge", "ledger")),
    Door("policy", POLICY_SHOWN, ("edge", "ledger")),
    Door("policy", CONTROL_FEED, ("edge",), feed=True),
    Door("policy", f"$JS.API.STREAM.INFO.{CONTROL_STREAM}", ("edge", "ledger"), state(CONTROL_STREAM)),
    Door("policy", f"$JS.API.DIRECT.GET.{CONTROL_STREAM}", ("ledger",), HISTORY_CONTROL, many=True),
    Door("ledger", "traffic.*", ("edge",)),
    Door("ledger", "payload.*", ("edge",)),
    Door("ledger", f"$JS.API.STREAM.INFO.{TRAFFIC_STREAM}", ("edge",), state(TRAFFIC_STREAM)),
    Door("ledger", f"$JS.API.STREAM.INFO.{PAYLOAD_STREAM}", ("edge",), state(PAYLOAD_STREAM)),
    Door("edge", EDGE_IDENTITY_ALL, ("ledger",)),
    Door("moderation", MODERATION_SCREEN, ("edge",)),
    Door("moderation", MODERATION_COUNT, ("edge", "ledger")),
    Door("moderation", MODERATION_TOKENS, ("edge",)),
    Door("moderation", MODERATION_SERVICES, ("edge",)),
    Door("moderation", MODERATION_KEYWORDS, ("edge",)),
    Door("ledger", LEDGER_SPENT, ("policy",)),
)


def home(service: str) -> str:
    """The service whose account a service's user is in: its own; of edge, the ledger's, where
    TRAFFIC is.

    What an edge publishes waits for the broker in every call, and a door doubles what that costs
    the broker (16 µs a message, measured).
    """
    return "ledger" if service == "edge" else service


def _through_doors(service: str, *, feed: bool) -> list[str]:
    """Its own doors' names among them: in its own account nobody answers there, which tells where
    it is. Then the subject itself is asked.
    """
    found: list[str] = []
    for door in DOORS:
        if door.feed is feed and (service in door.users or (door.name and door.owner == service)):
            found.append(door.name or door.subject)
            if door.name and service in door.users and home(door.owner) == home(service):
                found.append(door.subject)
    return found


def _answers(service: str) -> list[str]:
    """Where a service may answer: inboxes alone. Those of other accounts, and (where all share one
    account) its askers'.
    """
    askers = {user: None for door in DOORS if door.owner == service and not door.feed for user in door.users}
    return ["_R_.>", *(f"{inbox_prefix(user)}.>" for user in askers)]


def _stream_api(stream: str, *verbs: str) -> list[str]:
    return [f"$JS.API.{verb.format(stream=stream)}" for verb in verbs]


_READ = ("STREAM.INFO.{stream}", "CONSUMER.CREATE.{stream}", "CONSUMER.CREATE.{stream}.>", "CONSUMER.DELETE.{stream}.>")
_OWN = ("STREAM.CREATE.{stream}", "STREAM.UPDATE.{stream}")
_PULL = ("CONSUMER.INFO.{stream}.>", "CONSUMER.MSG.NEXT.{stream}.>")

PERMISSIONS: dict[str, Permissions] = {
    "edge": Permissions(
        publish=[
            EDGE_RESTS,
            f"{CACHE_PREFIX}*",
            *_stream_api(CACHE_STREAM, "DIRECT.GET.{stream}.>", "STREAM.PURGE.{stream}"),
            *_through_doors("edge", feed=False),
            *_answers("edge"),
        ],
        subscribe=[f"{inbox_prefix('edge')}.>", EDGE_IDENTITY_ALL, EDGE_RESTS, *_through_doors("edge", feed=True)],
    ),
    "policy": Permissions(
        publish=[
            CONTROL_ALL,
            *_stream_api(CONTROL_STREAM, *_READ, *_OWN, "DIRECT.GET.{stream}"),
            *_through_doors("policy", feed=False),
            *_answers("policy"),
        ],
        subscribe=[f"{inbox_prefix('policy')}.>", POLICY_DECIDE, POLICY_ADMIN, POLICY_NOTE, POLICY_SHOWN],
        jetstream=True,
    ),
    "moderation": Permissions(
        publish=[*_through_doors("moderation", feed=False), *_answers("moderation")],
        subscribe=[
            f"{inbox_prefix('moderation')}.>",
            MODERATION_SCREEN,
            MODERATION_COUNT,
            MODERATION_TOKENS,
            MODERATION_SERVICES,
            MODERATION_KEYWORDS,
        ],
    ),
    "ledger": Permissions(
        publish=[
            *_stream_api(TRAFFIC_STREAM, *_READ, *_OWN, *_PULL, "STREAM.PURGE.{stream}"),
            *_stream_api(PAYLOAD_STREAM, *_READ, *_OWN, *_PULL, "STREAM.PURGE.{stream}"),
            *_stream_api(CACHE_STREAM, "STREAM.INFO.{stream}", *_OWN),
            *_through_doors("ledger", feed=False),
            "_R_.>",
            f"{inbox_prefix('policy')}.>",
        ],
        subscribe=[f"{inbox_prefix('ledger')}.>", LEDGER_SPENT, EDGE_RESTS],
        jetstream=True,
    ),
}
