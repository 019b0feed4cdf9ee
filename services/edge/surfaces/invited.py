"""Users' own passwords: set by the link of an invitation, and seen when somebody signs in by one.

The password is digested and sealed here; policy keeps what comes of it, and only edges can open it.
"""

import os
from typing import Any

from services.edge.http import Request, WholeAnswer
from services.edge.pages import forms, render, site, words
from services.edge.pages.forms import Form
from services.edge.pages.visitor import Visitor
from services.edge.parts import Parts
from services.edge.sso import flow, passwords
from services.edge.sso.flow import SsoError
from services.edge.stored.models import place
from services.edge.surfaces.vouching import guess_of, tell_failure, vouch
from services.edge.threads import Threads
from shared.ids import digest_key
from shared.sealing import SealingError

DIGESTING = Threads("password")
WAITING_MAX = 16
"""Passwords that are tried, or wait for it: each takes 16 MB and some 50 ms of a processor."""
SECRET_CHARACTERS_MAX = 512
NAME = "password"


async def form(parts: Parts, request: Request, visitor: Visitor) -> WholeAnswer:
    """Looking at the link doesn't use it up: mail scanners look, too."""
    _need(parts, visitor)
    secret = forms.of_query(request.query)["invitation_id"]
    user = await _whose(parts, request, secret)
    return _shown(parts, visitor, secret, user)


async def accept(parts: Parts, request: Request, visitor: Visitor, sent: Form) -> str:
    """Returns who has a password now. Raises SsoError, and Again for a form to be shown again."""
    _need(parts, visitor)
    secret = sent["invitation_id"]
    user = await _whose(parts, request, secret)
    chosen = sent.exact("password")
    say = words.say
    for wrong, sentence in (
        (not passwords.fits(chosen), say(visitor.language, "invitation.length", least=passwords.CHARACTERS_MIN)),
        (chosen != sent.exact("again"), say(visitor.language, "invitation.differ")),
    ):
        if wrong:
            raise Again(_shown(parts, visitor, secret, user, sentence, 400))
    kept = await _digesting(parts, passwords.digest, chosen, os.urandom(passwords.SALT_BYTES))
    user_id = str(user["user_id"])
    try:
        sealed = parts.stored.sealer.seal(kept, place("user", user_id, NAME))
    except SealingError:
        raise SsoError(503, say(visitor.language, "invitation.unsealed")) from None
    await vouch(parts, request, "/sso/accept", {"token": digest_key(secret), "user_id": user_id, "sealed": sealed})
    return user_id


class Again(Exception):
    """The form is shown again, with what is wrong."""

    def __init__(self, page: WholeAnswer) -> None:
        super().__init__()
        self.page = page


async def signed_in(parts: Parts, request: Request, username: str, password: str) -> dict[str, Any] | None:
    """The user whose name, or address, and password these are, and the password as policy has it:
    no session begins once that is another. Raises SsoError for one who may not use the page.
    """
    found = await vouch(parts, request, "/sso/password", {"username": username[: flow.TEXT_CHARACTERS_MAX]})
    kept: Any = passwords.NOBODYS
    if found["sealed"] is not None:
        try:
            kept = parts.stored.sealer.open(found["sealed"], place("user", str(found["user_id"]), NAME))
        except SealingError:
            kept = passwords.NOBODYS
    good = await _digesting(parts, passwords.holds, password, kept)
    if not good or found["sealed"] is None:
        return None
    flow.check_known(parts.sso.settings, found.get("user_email"), str(found["user_role"]))
    return {"user_id": str(found["user_id"]), "sealed": found["sealed"]}


async def _whose(parts: Parts, request: Request, secret: str) -> dict[str, Any]:
    """Raises SsoError, also where that user may not use the page."""
    if parts.sso.guesses.waits_s(guess_of(request), parts.clock.unix_ms() / 1000):
        raise SsoError(429, "Too many failed attempts. Try again later.")
    try:
        user = await vouch(parts, request, "/sso/invitation", {"token": digest_key(secret[:SECRET_CHARACTERS_MAX])})
    except SsoError as error:
        if error.status == 404:
            await tell_failure(parts, request, "invitation")
        raise
    flow.check_known(parts.sso.settings, user["user_email"], str(user["user_role"]))
    return user


async def _digesting(parts: Parts, work: Any, *arguments: Any) -> Any:
    if parts.sso.digesting >= WAITING_MAX:
        raise SsoError(503, "Too many sign in at the moment. Try again.")
    parts.sso.digesting += 1
    try:
        return await DIGESTING.run(work, *arguments)
    finally:
        parts.sso.digesting -= 1


def _need(parts: Parts, visitor: Visitor) -> None:
    if not parts.sso.settings.user_passwords:
        raise SsoError(403, words.say(visitor.language, "invitation.off"))


def _shown(
    parts: Parts, visitor: Visitor, secret: str, user: dict[str, Any], error: str = "", status: int = 200
) -> WholeAnswer:
    values = {
        "brand": site.brand(parts),
        "error": error,
        "invitation_id": secret,
        "who": user.get("user_email") or user["user_id"],
        "least": passwords.CHARACTERS_MIN,
    }
    return render.page("invitation.html", values, language=visitor.language, status=status)
