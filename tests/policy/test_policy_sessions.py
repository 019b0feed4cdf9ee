"""A login at the identity provider: who somebody becomes, and which teams follow their groups."""

from typing import Any

import msgspec
import pytest

from services.policy.commands import run_vouched
from services.policy.identity import tokens
from services.policy.plan import Call, Plan
from shared.config import ConfigError
from shared.entities import Team, User
from shared.facts import Caller
from shared.ids import digest_key
from shared.requests import DecideRequest
from tests.policy.world import CONFIG, NOW, World, digest

FOLLOWING = CONFIG.replace(
    "general_settings:",
    """  default_internal_user_params: {user_role: internal_user, max_budget: 5, models: [gpt], teams: [everybody]}
  default_team_params: {models: [mini], max_budget: 100}
general_settings:
  enable_jwt_auth: true
  litellm_jwtauth: {sync_user_role_and_teams: true, team_id_upsert: true, user_id_jwt_field: sub}""",
)
ENVIRON = {"JWT_PUBLIC_KEY_URL": "https://idp.example/jwks", "JWT_AUDIENCE": "x"}


def login(world: World, user_id: str, groups: list[str], **more: Any) -> None:
    body = {
        "user_id": user_id, "groups": groups, "token": digest(f"{user_id}-{world.ids}"), "key_name": "sk-...", "lasts_ms": 1000,
        "default_role": "internal_user", **more,
    }  # fmt: skip
    call = Call(world.directory, {}, body, Caller(user_id=user_id), NOW, world.new_id, world.catalog, "/sso/session")
    plan = run_vouched(call)
    assert isinstance(plan, Plan), plan
    for change in plan.changes:
        world.fold(change.kind, change.entity_id, change.after, change.action, change.before)


def teams_of(world: World, user_id: str) -> set[str]:
    listed = set(world.directory.users[user_id].teams)
    assert listed == {team.team_id for team in world.directory.teams.values() if team.role_of(user_id)}
    return listed


def test_groups_become_teams_and_are_left_again() -> None:
    world = World(Team(team_id="a"), Team(team_id="everybody"), text=FOLLOWING, environ=ENVIRON)
    login(world, "ann", ["a", "new"])
    ann = world.directory.users["ann"]
    assert (ann.user_role, ann.models, ann.max_budget_picousd) == ("internal_user", ["gpt"], 5 * 10**12)
    assert teams_of(world, "ann") == {"a", "new", "everybody"}
    made = world.directory.teams["new"]
    assert (made.models, made.max_budget_picousd) == (["mini"], 100 * 10**12)
    login(world, "ann", ["new"])
    assert teams_of(world, "ann") == {"new"}  # the identity provider's word, from the second login on
    login(world, "ann", ["new"])
    assert teams_of(world, "ann") == {"new"}


def test_without_the_setting_groups_say_nothing() -> None:
    world = World(Team(team_id="a"), User(user_id="bob", teams=[]))
    login(world, "bob", ["a", "new"])
    assert teams_of(world, "bob") == set() and "new" not in world.directory.teams


def test_a_role_that_the_provider_gave_is_over_when_it_no_longer_gives_it() -> None:
    world = World(User(user_id="by-hand", user_role="proxy_admin"))
    login(world, "ann", [], user_role="proxy_admin")
    login(world, "by-hand", [])
    assert [world.directory.users[name].user_role for name in ("ann", "by-hand")] == ["proxy_admin", "proxy_admin"]
    login(world, "ann", [], default_role=None, known=True)  # by her own password: the provider wasn't asked
    assert world.directory.users["ann"].user_role == "proxy_admin"
    # she can't say herself where her role is from
    world.call("/user/update", {"user_id": "ann", "sso_role": "internal_user"})
    login(world, "ann", [])
    assert world.directory.users["ann"].user_role == "internal_user"
    world.call("/user/update", {"user_id": "ann", "user_role": "proxy_admin"})
    login(world, "ann", [])
    assert world.directory.users["ann"].user_role == "proxy_admin", "since then it is from us"


@pytest.mark.parametrize("params", ["{max_budget: many}", "{teams: everybody}", "{models: 7}"])
def test_wrong_defaults_refuse_the_start(params: str) -> None:
    with pytest.raises(ConfigError, match="default_internal_user_params"):
        World(text=CONFIG.replace("general_settings:", f"  default_internal_user_params: {params}\ngeneral_settings:"))


def test_proxy_admins_are_no_internal_users_whichever_way_they_come() -> None:
    world = World(Team(team_id="everybody"), text=FOLLOWING, environ=ENVIRON)
    login(world, "root", [], user_role="proxy_admin")
    made = world.call("/user/new", {"user_id": "boss", "user_role": "proxy_admin", "auto_create_key": False})
    assert made["max_budget"] is None and made["models"] == []
    root = world.directory.users["root"]
    assert (root.user_role, root.models, root.max_budget_picousd) == ("proxy_admin", [], None)


def test_who_a_token_is_the_first_to_name_has_what_new_users_have() -> None:
    text = FOLLOWING.replace("sync_user_role_and_teams: true, team_id_upsert: true", "user_id_upsert: true")
    world = World(Team(team_id="everybody"), text=text, environ=ENVIRON)
    said = msgspec.json.encode({"exp": NOW / 1000 + 60, "iss": "idp", "sub": "tom"})
    question = DecideRequest(digest_key("a.b.c"), "/chat/completions", "gpt", claims=said)
    for upsert in tokens.missing(world.directory, world.catalog, question, NOW):
        world.hold(upsert.after)
    tom = world.directory.users["tom"]
    assert (tom.user_role, tom.models, tom.max_budget_picousd) == ("internal_user", ["gpt"], 5 * 10**12)
    assert teams_of(world, "tom") == {"everybody"} and tom.created_at_ms == NOW
    assert tokens.missing(world.directory, world.catalog, question, NOW) == [], "once"
