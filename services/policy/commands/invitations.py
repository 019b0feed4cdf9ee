"""/invitation/*: a link by which a user sets a password, and signs in by it from then on. For proxy
admins alone: whoever has the link becomes that user, with all that the user may do anywhere.

The password never comes here: the edge makes a digest of it that takes long to try, and seals that.
"""

from typing import Any

import msgspec

from services.policy.commands import generic, sessions
from services.policy.commands.generic import Command
from services.policy.commands.keys import minted
from services.policy.commands.sessions import PASSWORD
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import INVITATION, USER, Invitation, User
from shared.entities import readers as fields
from shared.errors import RefusedError

LASTS_MS = 7 * 86_400_000


def new(call: Call) -> Plan:
    """One at a time for a user: the links before it are good for nothing any more."""
    _may(call)
    user_id = fields.text("user_id", call.body.get("user_id"))
    if user_id is None or user_id not in call.directory.users:
        text = "User id does not exist in 'LiteLLM_UserTable'. Fix this by creating user via `/user/new`."
        raise RefusedError(errors.bad_request(text, "user_id"))
    secret = minted(call)
    if secret in call.directory.tables["invitation"]:
        raise RefusedError(errors.bad_request("This invitation already exists", "id"))
    made = Invitation(
        id=secret,
        user_id=user_id,
        expires_at_ms=call.now_ms + LASTS_MS,
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
    )
    after = generic.stamped(call, made)
    before = withdrawn(call, user_id)
    return Plan(INVITATION.row(after), [*before, change(call.directory, INVITATION, "created", None, after)])


def info(call: Call) -> Plan:
    generic.need(call, call.sees_all, _NOT_YOURS)
    return Plan(INVITATION.row(_named(call, call.query.get("invitation_id"))))


def update(call: Call) -> Plan:
    """That it was accepted: the link is good for nothing any more. There is no way back."""
    _may(call)
    before = _named(call, call.body.get("invitation_id"))
    if fields.flag("is_accepted", call.body.get("is_accepted")) is not True:
        fields.refuse("is_accepted", "can only become true; for another link call /invitation/new")
    after = _accepted(call, before)
    return Plan(INVITATION.row(after), [change(call.directory, INVITATION, "updated", before, after)])


def delete(call: Call) -> Plan:
    _may(call)
    before = _named(call, call.body.get("invitation_id"))
    return Plan(INVITATION.row(before), [change(call.directory, INVITATION, "deleted", before, None)])


def withdrawn(call: Call, user_id: str) -> list[Change]:
    """All of a user's leave the directory."""
    found: list[Invitation] = call.directory.find("invitation", "user_id", user_id)
    return [change(call.directory, INVITATION, "deleted", each, None) for each in found]


_NOT_YOURS = "Only proxy admins may invite: whoever has the link becomes the user that it is for."
_NO_LINK = "This link was used, has ended, or never was one. Ask for another."


def _may(call: Call) -> None:
    generic.need(call, call.is_admin, _NOT_YOURS)


def _named(call: Call, sent: Any) -> Invitation:
    name = fields.text("invitation_id", sent)
    found: Invitation | None = None if name is None else call.directory.tables["invitation"].get(name)
    if found is None:
        raise RefusedError(errors.bad_request("Invitation id does not exist in the database.", "invitation_id"))
    return found


def _accepted(call: Call, before: Invitation) -> Invitation:
    return generic.stamped(call, msgspec.structs.replace(before, is_accepted=True, accepted_at_ms=call.now_ms))


# ── what edges ask, having seen the link's secret, or somebody's password ──


def look(call: Call) -> Plan:
    """Whose link it is, while it is good."""
    _, user = _good(call)
    return Plan({"user_id": user.user_id, "user_email": user.user_email, "user_role": user.user_role})


def accept(call: Call) -> Plan:
    """The user has this password from now on. Whoever was signed in as them is so no longer."""
    invitation, user = _good(call)
    sealed = call.body.get("sealed")
    if not isinstance(sealed, list) or not all(isinstance(each, str) for each in sealed):
        fields.refuse("sealed", "must be the sealed digest of a password")
    after = generic.stamped(call, msgspec.structs.replace(user, sealed={**user.sealed, PASSWORD: sealed}))
    USER.check_size(after)
    changes = [
        change(call.directory, INVITATION, "updated", invitation, _accepted(call, invitation)),
        change(call.directory, USER, "updated", user, after),
        *sessions.all_ended(call, user.user_id),
    ]
    return Plan({"user_id": user.user_id}, changes)


def sign_in(call: Call) -> Plan:
    """What the edge must see of who says they are this user, by id or address. One answer, whether
    there is such a user or not.
    """
    name = fields.text("username", call.body.get("username")) or ""
    user = call.directory.users.get(name) or call.directory.user_of(name)
    if user is None or PASSWORD not in user.sealed:
        return Plan({"user_id": None, "sealed": None})
    row = {"user_id": user.user_id, "user_email": user.user_email, "user_role": user.user_role}
    return Plan({**row, "sealed": user.sealed[PASSWORD]})


VOUCHED: dict[str, Command] = {"/sso/invitation": look, "/sso/accept": accept, "/sso/password": sign_in}


def _good(call: Call) -> tuple[Invitation, User]:
    found: Invitation | None = call.directory.tables["invitation"].get(str(call.body.get("token")))
    user = None if found is None else call.directory.users.get(found.user_id)
    if found is None or user is None or found.is_accepted or found.expires_at_ms <= call.now_ms:
        raise RefusedError(errors.entity_not_found(_NO_LINK, "invitation_id"))
    return found, user
