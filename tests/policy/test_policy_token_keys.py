"""Tokens that stand for a key: by an admin's mapping, and by nothing that a key's owner can say."""

from typing import Any

import msgspec

from shared.entities import JwtMapping, mapping_id
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Grant
from shared.ids import digest_key
from shared.requests import DecideRequest
from tests.policy.attacks_kit import FRESH, by, world
from tests.policy.world import CONFIG, NOW, World, catalog, digest

JWT = "general_settings:\n  enable_jwt_auth: true\n  litellm_jwtauth: {virtual_key_claim_field: azp, user_id_jwt_field: sub}\n"


def by_token(w: World, route: str = "/chat/completions", **claims: Any) -> Any:
    said = msgspec.json.encode({"exp": NOW / 1000 + 60, "iss": "idp", **claims})
    return w.decide("a.b.c", route, "gpt" if route == "/chat/completions" else "", claims=said)


def with_tokens() -> World:
    w = world()
    text = CONFIG.replace("general_settings:\n", JWT)
    w.catalog = catalog(text, {"JWT_PUBLIC_KEY_URL": "https://idp.example/jwks", "JWT_AUDIENCE": "x"})
    return w


def test_a_key_stands_for_no_token_by_the_name_its_owner_chose() -> None:
    w = with_tokens()
    by(w, "member", "/key/generate", {**FRESH, "key_alias": "their-client"})
    assert by_token(w, azp="their-client").caller.key_sha256 != digest("fresh")
    for who in ("member", "boss", "org-admin"):
        body = {"jwt_claim_name": "azp", "jwt_claim_value": "their-client", "key": digest("fresh")}
        answer = w.call("/jwt/key/mapping/new", body, actor=Caller(user_id=who, role="org_admin"))
        assert isinstance(answer, Refusal) and answer.status == 403, who


def test_a_token_has_the_key_that_an_admin_said_also_after_its_rotations() -> None:
    w = with_tokens()
    said = {"jwt_claim_name": "azp", "jwt_claim_value": "c"}
    made = w.call("/jwt/key/mapping/new", {**said, "key": digest("team")})
    assert "token" not in made and made["is_active"] is True
    assert w.call("/jwt/key/mapping/new", {**said, "token": digest("own")}).status == 409
    grant = by_token(w, azp="c")
    assert isinstance(grant, Grant) and (grant.caller.key_sha256, grant.caller.team_id) == (digest("team"), "t")
    assert "control.user.member" in grant.depends_on, "what becomes of the key's user binds the token, too"
    by(w, "boss", "/key/regenerate", {**FRESH, "key": digest("team")})
    moved = by_token(w, azp="c")
    assert moved.caller.key_sha256 == digest("fresh") and f"control.jwt_mapping.{made['id']}" in moved.depends_on
    assert by_token(w, "/key/list", azp="c").caller.user_id is None, (
        "it is boss who made its secret: no rights of member's"
    )
    w.call("/key/block", {"key": digest("fresh")})
    assert by_token(w, azp="c").rule == "key_blocked"
    w.call("/key/delete", {"keys": [digest("fresh")]})
    assert by_token(w, azp="c", sub="member").refusal.code == "token_client_unknown", "and not its user instead"
    w.call("/jwt/key/mapping/update", {"id": made["id"], "is_active": False})
    assert by_token(w, azp="c", sub="member").caller.user_id == "member"
    assert w.call("/jwt/key/mapping/update", {"id": made["id"], "jwt_claim_value": "d"}).param == "jwt_claim_value"
    w.hold(
        JwtMapping(
            id=mapping_id("idp", "azp", "c"),
            jwt_issuer="idp",
            jwt_claim_name="azp",
            jwt_claim_value="c",
            token=digest("own"),
        )
    )
    assert by_token(w, azp="c").caller.key_sha256 == digest("own"), "the issuer's own goes first"
    listed = w.call("/jwt/key/mapping/list", actor=Caller(role="proxy_admin_viewer"))
    assert listed["total_count"] == 2 and "token" not in listed["mappings"][0]
    assert w.call("/jwt/key/mapping/delete", {"id": made["id"]}) == {"status": "success"}


def test_what_becomes_of_a_key_between_binds_the_token() -> None:
    """Rotated twice with grace: the mapping may name the first, and the second still counts."""
    w = with_tokens()
    made = w.call("/jwt/key/mapping/new", {"jwt_claim_name": "azp", "jwt_claim_value": "c", "key": digest("team")})
    first = w.directory.keys[digest("team")]
    middle = msgspec.structs.replace(first, token=digest("middle"), replaced_by=digest("last"), key_alias=None)
    w.hold(
        msgspec.structs.replace(first, replaced_by=digest("middle")),
        middle,
        msgspec.structs.replace(first, token=digest("last"), key_alias=None),
    )
    stale = msgspec.structs.replace(w.directory.tables["jwt_mapping"][made["id"]], token=digest("team"))
    w.hold(stale)
    grant = by_token(w, azp="c")
    assert grant.caller.key_sha256 == digest("last")
    for name in ("team", "middle", "last"):
        assert f"control.key.{digest(name)}" in grant.depends_on, name
    w.hold(msgspec.structs.replace(middle, blocked=True))
    assert by_token(w, azp="c").rule == "key_blocked"
    w.fold("key", digest("middle"), None, "deleted")
    gone = by_token(w, azp="c")
    assert gone.refusal.code == "token_client_unknown" and f"control.key.{digest('middle')}" in gone.depends_on


def test_a_mapping_that_no_token_can_have_says_so() -> None:
    w = world()
    plan = w.plan("/jwt/key/mapping/new", {"jwt_claim_name": "sub", "jwt_claim_value": "c", "key": digest("own")})
    assert plan.not_enforced == ["jwt_claim_name"]
    for wrong in ({}, {"key": digest("nobody")}, {"key": digest("own"), "token": digest("own")}, {"token": "x"}):
        answer = w.call("/jwt/key/mapping/new", {"jwt_claim_name": "azp", "jwt_claim_value": "c", **wrong})
        assert isinstance(answer, Refusal) and answer.status == 400 and answer.param in ("key", "token")


def test_who_comes_with_a_token_may_have_their_own_calls_explained() -> None:
    w = with_tokens()
    said = msgspec.json.encode({"exp": NOW / 1000 + 60, "iss": "idp", "sub": "member"})
    came = DecideRequest(digest_key("a.b.c"), "/policy/explain", claims=said)
    caller = by_token(w, "/policy/explain", sub="member").caller
    answer = w.call("/policy/explain", {"model": "gpt"}, actor=caller, credential=came)
    assert (answer["allowed"], answer["caller"]["user_id"]) == (True, "member"), answer
    about_another = w.call("/policy/explain", {"key": digest("own")}, actor=caller, credential=came)
    assert isinstance(about_another, Refusal) and about_another.status == 403
