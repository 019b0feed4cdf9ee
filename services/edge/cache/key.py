"""What makes two requests equal, and for whom. Pure.

The key is a digest of what would be forwarded (after redaction), in canonical form: names in order, no white space, whatever is the
gateway's own left out. And of whose it is, which guardrails the caller has, and which deployments may answer: an answer is only ever
given to somebody who would have been answered and screened in the same way.
"""

import hashlib

import msgspec

from services.edge.content.names import GATEWAY
from services.edge.formats.base import Call
from shared.grant import Permit

_CANONICAL = msgspec.json.Encoder(order="deterministic")
_LEFT_OUT = GATEWAY | {"user"}
"""`user` is for the provider's watch over abuse: it says nothing about the answer."""


def digest(call: Call, permit: Permit, route: str, namespace: str, scope: str) -> str | None:
    """None: the request can't be read whole, so nothing is equal to it."""
    try:
        said = {
            name: msgspec.json.decode(raw)
            for name, raw in call.fields.items()
            if name not in _LEFT_OUT and name != "stream"
        }
        canonical = _CANONICAL.encode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    caller = permit.grant.caller
    whose = ""
    if scope != "all":
        whose = f"team {caller.team_id}" if caller.team_id and scope == "team" else f"key {caller.key_sha256}"
    parts = (
        whose,
        namespace,
        route,
        call.model,
        "stream" if call.stream else "whole",
        "usage" if call.wants_usage else "",
        *sorted(f"g {each.name} {','.join(each.stages)}" for each in permit.guardrails),
        *sorted(f"d {each.deployment_id}" for each in permit.candidates),
    )
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    hashed.update(canonical)
    return hashed.hexdigest()
