"""Whom the operator's own function knows: the rules hold for them as for a key's owner, and only
where there is such a function.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.policy.catalog import build
from services.policy.decide import decide
from shared import config
from shared.entities import Team, User
from shared.grant import Denial, Grant
from shared.identity import own
from shared.requests import DecideRequest
from tests.policy.world import CONFIG, MASTER_KEY, NOW, World

WORLD = World(
    Team(team_id="eng", team_alias="Engineering", models=["mini"]),
    Team(team_id="gone", blocked=True),
    User(user_id="ann", models=["gpt"]),
    User(user_id="boss", user_role="proxy_admin"),
    own_auth=True,
)


def asked(identity: Any, route: str = "/chat/completions", model: str = "mini", world: World = WORLD) -> Grant | Denial:
    found, _ = own.read(identity, "sk-what-was-sent-0123")
    told = own.encoded(found)
    question = DecideRequest(own.digest(told), route, model, credential_shape=own.SHAPE, claims=told)
    return decide(world.directory, world.catalog, question, NOW, world.seq)


def granted(identity: Any, *where: Any) -> Grant:
    found = asked(identity, *where)
    assert isinstance(found, Grant), found
    return found


@pytest.mark.parametrize(
    ("identity", "model", "code"),
    [
        ({"team_id": "eng"}, "gpt", "model_not_allowed"),
        ({"team_id": "gone"}, "mini", "blocked_team"),
        ({"user_id": "ann"}, "mini", "model_not_allowed"),
        ({"models": ["gpt"]}, "mini", "model_not_allowed"),
        ({"team_models": ["gpt"]}, "mini", "model_not_allowed"),
        ({"blocked": True}, "mini", "blocked_key"),
        ({"expires": "2020-01-01"}, "mini", "expired_key"),
        ({"allowed_routes": ["/embeddings"]}, "mini", "key_route_not_allowed"),
        ({}, "nobody-serves-it", "unknown_model"),
    ],
)
def test_every_rule_holds(identity: Any, model: str, code: str) -> None:
    found = asked(identity, "/chat/completions", model)
    assert isinstance(found, Denial) and found.refusal.code == code, found


def test_who_it_is_stands_in_the_book() -> None:
    caller = granted({"team_id": "eng", "user_id": "bob", "key_alias": "laptop", "org_id": "o"}).caller
    assert (caller.team_id, caller.team_alias, caller.user_id, caller.key_alias) == (
        "eng",
        "Engineering",
        "bob",
        "laptop",
    )
    elsewhere = granted({"team_id": "theirs", "team_alias": "Not here"}).caller
    assert (elsewhere.team_id, elsewhere.team_alias) == ("theirs", "Not here"), "a team that nobody made is a name"
    assert (elsewhere.key_sha256 or "").startswith(own.LABEL)
    same, other = granted({"api_key": "a", "team_id": "x"}).caller, granted({"api_key": "a", "team_id": "y"}).caller
    assert same.key_sha256 == other.key_sha256 != granted({"api_key": "b"}).caller.key_sha256
    assert "control.team.eng" in granted({"team_id": "eng"}).depends_on, "a team that changes drops the grant"
    tagged = granted({"metadata": {"tags": ["t"], "spend_logs_metadata": {"a": 1}}})
    assert (tagged.tags, tagged.spend_logs_metadata) == (["t"], {"a": 1})


def test_roles() -> None:
    assert granted({"user_id": "boss"}, "/key/list", "").caller.role == "proxy_admin", (
        "the user's own, where none is said"
    )
    assert granted({"user_role": "proxy_admin"}, "/team/new", "").caller.role == "proxy_admin"
    for role in (None, "team", "customer", "emperor"):
        assert granted({"user_role": role}).caller.role == "internal_user"
        assert isinstance(asked({"user_role": role}, "/team/new", ""), Denial)


def test_without_such_a_function_nobody_is_let_in_by_its_word() -> None:
    """An edge that has it and a policy whose file doesn't (yet): no."""
    found = asked({"user_role": "proxy_admin"}, world=World())
    assert isinstance(found, Denial) and found.refusal.code == "custom_auth_refused"
    question = DecideRequest(own.digest(b"x"), "/chat/completions", "mini", claims=b"{no json")
    assert isinstance(decide(WORLD.directory, WORLD.catalog, question, NOW, 1), Denial)
    nothing_told = msgspec.structs.replace(question, claims=b"")
    assert isinstance(decide(WORLD.directory, WORLD.catalog, nothing_told, NOW, 1), Denial)
    no_master_key = World(
        text=CONFIG.replace(f"  master_key: {MASTER_KEY}\n", "  allow_open_gateway: true\n"), own_auth=True
    )
    found = decide(no_master_key.directory, no_master_key.catalog, nothing_told, NOW, 1)
    assert isinstance(found, Denial) and found.refusal.code == "custom_auth_refused", "nor as nobody"


def test_the_file_says_whether_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def who(request, api_key): ...")

    def catalog(more: str) -> Any:
        text = CONFIG.replace("general_settings:", f"general_settings:\n  {more}")
        return build(config.parse(text, {}, directory=str(tmp_path)), lambda provider, model: None)

    assert catalog("custom_auth: mine.who").own_auth
    assert not catalog("custom_auth: mine.who\n  custom_auth_settings: {mode: off}").own_auth
