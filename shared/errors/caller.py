"""Who asks isn't known, or their key is none any more."""

from datetime import UTC, datetime

from shared.errors.refusal import Refusal, _auth


def no_key() -> Refusal:
    return _auth("no_key", "No api key passed in.")


def malformed_key() -> Refusal:
    return _auth("malformed_key", "Malformed API Key passed in. Ensure Key has `Bearer ` prefix.")


def not_a_virtual_key() -> Refusal:
    return _auth("not_a_virtual_key", "LiteLLM Virtual Key expected. It must start with 'sk-'.")


def unknown_key(key_sha256: str) -> Refusal:
    return _auth(
        "unknown_key",
        f"Invalid proxy server token passed. Unable to find token. Key Hash (Token)={key_sha256}",
        kind="token_not_found_in_db",
        param="key",
    )


def blocked_key() -> Refusal:
    return _auth("blocked_key", "Key is blocked. Update via `/key/unblock` if you're an admin.")


def blocked_team(team_id: str) -> Refusal:
    return _auth("blocked_team", f"Team={team_id} is blocked. Update via `/team/unblock` if you're an admin.")


def blocked_project(project_id: str) -> Refusal:
    """Also one that isn't there any more."""
    return _auth("blocked_project", f"Project={project_id} is blocked, or doesn't exist.")


def unknown_team(team_id: str) -> Refusal:
    """The key's team was deleted: a key never outlives its team, even where its own deletion is
    still on its way.
    """
    return _auth("unknown_team", f"Team={team_id} of this key doesn't exist.")


def unknown_organization(alias: str) -> Refusal:
    return _auth("unknown_organization", f"The token names an organization that doesn't exist: {alias[:100]}")


def expired_key(expires_at_ms: int, now_ms: int) -> Refusal:
    expiry, now = (datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in (expires_at_ms, now_ms))
    return Refusal(
        "expired_key",
        401,
        f"Authentication Error - Expired Key. Key Expiry time {expiry} and current time {now}",
        "expired_key",
        "key",
    )
