"""Every subject on the bus, and which service may use it. The bus's permissions are made from this table.

control.<kind>.<token>     CONTROL stream   policy writes; everyone listens
traffic.<shard>            TRAFFIC stream   edge writes; ledger consumes
policy.decide  policy.admin                 request-reply, queue group `policy`
moderation.screen  moderation.count  moderation.tokens   request-reply, queue group `moderation`
"""

import hashlib
import re

import msgspec

CONTROL_STREAM = "CONTROL"
TRAFFIC_STREAM = "TRAFFIC"
CONTROL_ALL = "control.>"
TRAFFIC_ALL = "traffic.>"

POLICY_DECIDE = "policy.decide"
POLICY_ADMIN = "policy.admin"
MODERATION_SCREEN = "moderation.screen"
MODERATION_COUNT = "moderation.count"
MODERATION_TOKENS = "moderation.tokens"

_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,80}")


def control(kind: str, entity_id: str) -> str:
    """The subject of an entity's control facts. Ids that aren't plain tokens are replaced by a digest, marked by `~`."""
    if _PLAIN_TOKEN.fullmatch(entity_id):
        return f"control.{kind}.{entity_id}"
    return f"control.{kind}.~{hashlib.sha256(entity_id.encode()).hexdigest()[:40]}"


def traffic(shard: int) -> str:
    return f"traffic.{shard}"


def inbox_prefix(service: str) -> str:
    """Each service hears only its own answers."""
    return f"_INBOX_{service}"


class Permissions(msgspec.Struct, frozen=True):
    publish: list[str]
    subscribe: list[str]
    replies: bool = False
    """May answer requests it received (NATS allow_responses)."""


def _stream_api(stream: str, *verbs: str) -> list[str]:
    return [f"$JS.API.{verb.format(stream=stream)}" for verb in verbs]


_READ = ("STREAM.INFO.{stream}", "CONSUMER.CREATE.{stream}", "CONSUMER.CREATE.{stream}.>", "CONSUMER.DELETE.{stream}.>")
_OWN = ("STREAM.CREATE.{stream}", "STREAM.UPDATE.{stream}")
_PULL = ("CONSUMER.INFO.{stream}.>", "CONSUMER.DURABLE.CREATE.{stream}.>", "CONSUMER.MSG.NEXT.{stream}.>")

PERMISSIONS: dict[str, Permissions] = {
    "edge": Permissions(
        publish=[
            TRAFFIC_ALL,
            "policy.>",
            "moderation.>",
            "$JS.API.INFO",
            *_stream_api(CONTROL_STREAM, *_READ),
            *_stream_api(TRAFFIC_STREAM, "STREAM.INFO.{stream}"),
        ],
        subscribe=[f"{inbox_prefix('edge')}.>"],
    ),
    "policy": Permissions(
        publish=[
            CONTROL_ALL,
            "$JS.API.INFO",
            *_stream_api(
                CONTROL_STREAM, *_READ, *_OWN, "STREAM.MSG.GET.{stream}", "DIRECT.GET.{stream}", "DIRECT.GET.{stream}.>"
            ),
        ],
        subscribe=[f"{inbox_prefix('policy')}.>", "policy.>"],
        replies=True,
    ),
    "moderation": Permissions(
        publish=["$JS.API.INFO"],
        subscribe=[f"{inbox_prefix('moderation')}.>", "moderation.>"],
        replies=True,
    ),
    "ledger": Permissions(
        publish=[
            POLICY_DECIDE,
            "$JS.API.INFO",
            *_stream_api(TRAFFIC_STREAM, *_READ, *_OWN, *_PULL, "STREAM.PURGE.{stream}"),
            *_stream_api(CONTROL_STREAM, *_READ, *_PULL),
            f"$JS.ACK.{TRAFFIC_STREAM}.>",
            f"$JS.ACK.{CONTROL_STREAM}.>",
        ],
        subscribe=[f"{inbox_prefix('ledger')}.>"],
    ),
}
