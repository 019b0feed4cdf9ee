"""What makes two requests equal, and for whom. Pure.

The key is a digest of what would be forwarded (after redaction), in canonical form: names in order,
no white space, whatever is the gateway's own left out. And of whose it is, which guardrails the
caller has, and which deployments may answer: an answer is only ever given to somebody who would
have been answered and screened in the same way.
"""

import hashlib
from collections import OrderedDict

import msgspec

from services.edge.content.names import GATEWAY
from services.edge.formats.base import Call
from shared.decoding import UNREADABLE
from shared.grant import Permit

_CANONICAL = msgspec.json.Encoder(order="deterministic")
_LEFT_OUT = GATEWAY | {"user", "stream"}
"""`user` is for the provider's watch over abuse: it says nothing about the answer. `stream` is said
apart.
"""
BODIES_MAX = 4_096

Apart = tuple[str, str, bytes]
"""A namespace, a scope, and the digest of all that keeps a caller's answers apart there."""


class Bodies:
    """What bodies say, by their bytes: a body that came before isn't read again. Bounded."""

    def __init__(self) -> None:
        self._said: OrderedDict[bytes, bytes] = OrderedDict()

    def said(self, call: Call) -> bytes | None:
        """A digest of what would be forwarded; None: it can't be read whole, so nothing is equal to
        it.
        """
        if call.exact is not call.fields:  # redacted, or with parameters of somebody else: no longer what its bytes say
            return _said(call)
        body = hashlib.sha256(call.body).digest()
        found = self._said.get(body)
        if found is None:
            found = _said(call)
            if found is not None:
                self._said[body] = found
                if len(self._said) > BODIES_MAX:
                    self._said.popitem(last=False)
        return found


def _said(call: Call) -> bytes | None:
    try:
        said = {name: msgspec.json.decode(raw) for name, raw in call.fields.items() if name not in _LEFT_OUT}
        return hashlib.sha256(_CANONICAL.encode(said)).digest()
    except (*UNREADABLE, ValueError):
        return None


def apart(permit: Permit, route: str, model: str, namespace: str, scope: str) -> Apart:
    """Whose answers they are, and who may make them."""
    caller = permit.grant.caller
    whose = ""
    if scope != "all":
        whose = f"team {caller.team_id}" if caller.team_id and scope == "team" else f"key {caller.key_sha256}"
    parts = (
        whose,
        namespace,
        route,
        model,
        *sorted(f"g {each.name} {','.join(each.stages)}" for each in permit.guardrails),
        *sorted(f"d {each.deployment_id}" for each in permit.candidates),
    )
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return namespace, scope, hashed.digest()


def digest(call: Call, apart: Apart, bodies: Bodies, more: bytes = b"") -> str | None:
    """None: nothing is equal to it.

    Args:
        more: of what would be forwarded beside the body, of one length, or empty.
    """
    said = bodies.said(call)
    if said is None:
        return None
    how = (b"s" if call.stream else b"w") + (b"u" if call.wants_usage else b"")
    return hashlib.sha256(apart[2] + said + how + more).hexdigest()
