"""`Idempotency-Key`: the same call again is answered as the first was, and changes nothing. Pure.

What was answered is a control fact in the same atomic batch as the changes, so a call has happened
and is remembered, or neither. Of two at once the broker refuses one, which then finds the other's
answer.
"""

import hashlib
from typing import Any

import msgspec

from services.policy.directory import Directory
from services.policy.plan import Change, change
from shared import errors
from shared.entities.replay import ANSWER_BYTES_MAX, KEPT_S, REPLAY, Replay
from shared.errors import Refusal
from shared.requests import AdminRequest
from shared.routes import Route

HEADER = "x-tollgate-replay"
_MINTED = ("token", "key_name")
_SEALED = ("sealed", "new_id")
"""What the edge makes anew for each call: the secrets themselves can't be compared, only which
there are (`secrets`).
"""
_KEY_OF_THE_ANSWER = ("key", "token", "token_id")


class Kept(msgspec.Struct, frozen=True):
    """The place of one call's answer."""

    id: str
    asked_sha256: str


def place(request: AdminRequest, route: Route) -> Kept | None:
    """None: the call may be made as often as one likes."""
    if not request.idempotency_key or not route.mutates:
        return None
    who = f"{request.key_sha256}\0{request.idempotency_key}".encode()
    ours = _MINTED if route.mints else _SEALED if route.seals else ()
    body = {name: value for name, value in request.body.items() if name not in ours}
    asked = msgspec.json.encode([request.route, request.query, request.params, body], order="sorted")
    return Kept(hashlib.sha256(who).hexdigest(), hashlib.sha256(asked).hexdigest())


def found(directory: Directory, kept: Kept, now_ms: int) -> bytes | Refusal | None:
    """The first call's answer; a refusal where that can't be given; None: there was none."""
    replay: Replay | None = directory.tables["replay"].get(kept.id)
    if replay is None or replay.at_ms + KEPT_S * 1000 <= now_ms:
        return None
    if replay.asked_sha256 != kept.asked_sha256:
        return errors.bad_request("This Idempotency-Key was used for another call", "Idempotency-Key")
    if replay.answer is None:
        return errors.already_done()
    return replay.answer.encode()


def remembered(directory: Directory, kept: Kept, route: Route, answer: Any, now_ms: int) -> Change:
    """The fact that keeps an answer. A key it made isn't in it: the plaintext is nowhere."""
    if route.mints and isinstance(answer, dict):
        answer = {name: value for name, value in answer.items() if name not in _KEY_OF_THE_ANSWER}
    text = msgspec.json.encode(answer).decode()
    replay = Replay(
        id=kept.id,
        route=route.name,
        asked_sha256=kept.asked_sha256,
        answer=text if len(text) <= ANSWER_BYTES_MAX else None,
        at_ms=now_ms,
    )
    return change(directory, REPLAY, "created", directory.tables["replay"].get(kept.id), replay)
