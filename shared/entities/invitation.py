"""A link by which somebody sets the password of a user of theirs, once. The link's secret is like a
key: here there is only its digest.
"""

from typing import Any

import msgspec

from shared.entities.kind import EntityKind, column, times, who


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """SHA-256 of the link's secret, in hex."""
    user_id: str = ""
    is_accepted: bool = False
    """Then the link is good for nothing any more."""
    accepted_at_ms: int | None = None
    expires_at_ms: int = 0
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


INVITATION = EntityKind(
    "invitation",
    Invitation,
    "id",
    "LiteLLM_InvitationLink",
    Invitation(id=""),
    [column("user_id", None), column("is_accepted", None), *times("accepted_at", "expires_at"), *who()],
    indexes=("user_id",),
)
