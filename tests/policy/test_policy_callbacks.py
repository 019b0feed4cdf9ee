"""Where a team's or key's calls are sent: set, shown and taken away; and no credential of it is
ever in a fact or an answer.
"""

from typing import Any

import msgspec
import pytest

from services.policy import sealed
from services.policy.plan import Change, Plan
from shared import sealing
from shared.entities import Team, callbacks
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.sealing import Keyring
from tests.policy.world import World, digest, key

SECRET = "sk-lf-canary-0123456789"
RING = Keyring(["a salt of sixteen characters"])
VARIABLES = {"langfuse_public_key": "pk-lf-1", "langfuse_secret_key": SECRET, "langfuse_host": "https://l.example"}
ADD = "POST /team/{team_id}/callback"


def entry(**more: Any) -> dict[str, Any]:
    return {"callback_name": "langfuse", "callback_vars": VARIABLES, **more}


class Sealing(World):
    """Seals what a command planned, as publishing does."""

    keyring: Keyring | None = RING

    def plan(self, *arguments: Any, **more: Any) -> Any:
        plan = super().plan(*arguments, **more)
        if isinstance(plan, Plan):
            plan = msgspec.structs.replace(plan, changes=sealed.changes(plan.changes, self.keyring))
        return plan

    def texts(self) -> str:
        return "".join(msgspec.json.encode([fact.before, fact.after]).decode() for fact in self.facts)


def opened(fact_after: Any) -> str:
    (one,) = fact_after["metadata"]["logging"]
    found = sealing.sealed_of(one["callback_vars"]["langfuse_secret_key"])
    assert found is not None
    return RING.open(found, callbacks.place("langfuse", "langfuse_secret_key")).reveal()


def test_a_teams_callback_is_set_shown_masked_and_taken_away() -> None:
    world = Sealing(Team(team_id="t"))
    of_t: dict[str, Any] = {"params": {"team_id": "t"}}
    answer = world.call(ADD, entry(callback_type="success"), **of_t)
    assert answer["status"] == "success"
    masked = answer["data"]["metadata"]["logging"][0]["callback_vars"]
    assert masked == {**VARIABLES, "langfuse_secret_key": callbacks.MASK}
    assert SECRET not in world.texts() and opened(world.facts[-1].after) == SECRET
    shown = world.call("/team/{team_id}/callback", **of_t)
    assert shown == {
        "status": "success",
        "data": {"team_id": "t", "success_callbacks": ["langfuse"], "failure_callbacks": [], "callback_vars": masked},
    }
    assert (
        world.call("/team/info", query={"team_id": "t"})["team_info"]["metadata"]["logging"][0]["callback_vars"]
        == masked
    )
    # What was shown may be sent back: a mask keeps what is there.
    again = world.call(ADD, {"callback_name": "langfuse", "callback_type": "success", "callback_vars": masked}, **of_t)
    assert again["status"] == "success" and opened(world.facts[-1].after) == SECRET
    world.call("/team/update", {"team_id": "t", "tags": ["x"]})
    assert opened(world.facts[-1].after) == SECRET and SECRET not in world.texts()
    taken = world.call("/team/{team_id}/callback/{callback_name}", params={"team_id": "t", "callback_name": "langfuse"})
    assert taken["data"]["success_callbacks"] == []
    missing = world.call(
        "/team/{team_id}/callback/{callback_name}", params={"team_id": "t", "callback_name": "langfuse"}
    )
    assert isinstance(missing, Refusal) and missing.status == 404
    world.call(ADD, entry(), **of_t)
    off = world.call("/team/{team_id}/disable_logging", **of_t)
    assert off["message"] == "Logging disabled for team t"
    assert world.directory.teams["t"].metadata["logging"] == []


def test_a_keys_callback_lives_through_a_rotation() -> None:
    world = Sealing()
    world.call("/key/generate", {"token": digest("a"), "key_name": "sk-...a", "metadata": {"logging": [entry()]}})
    made = world.directory.keys[digest("a")]
    assert SECRET not in world.texts() and opened(msgspec.to_builtins(made)) == SECRET
    info = world.call("/key/info", query={"key": digest("a")})
    assert info["info"]["metadata"]["logging"][0]["callback_vars"]["langfuse_secret_key"] == callbacks.MASK
    world.call("/key/regenerate", {"key": digest("a"), "token": digest("b"), "key_name": "sk-...b"})
    assert opened(msgspec.to_builtins(world.directory.keys[digest("b")])) == SECRET
    assert SECRET not in world.texts()


@pytest.mark.parametrize("keyring", [RING, None])
def test_what_was_not_sealed_still_works_and_is_sealed_at_the_next_change(keyring: Keyring | None) -> None:
    world = Sealing(Team(team_id="t", metadata={"logging": [entry()]}), key("a", metadata={"logging": [entry()]}))
    world.keyring = keyring
    world.call("/team/update", {"team_id": "t", "team_alias": "T"})
    world.call("/key/regenerate", {"key": digest("a"), "token": digest("b"), "key_name": "sk-...b"})
    if keyring is None:
        assert world.facts[-1].before["metadata"]["logging"][0]["callback_vars"]["langfuse_secret_key"] == SECRET
        with pytest.raises(RefusedError) as refused:
            world.call(ADD, entry(callback_vars={"langfuse_secret": "new"}), params={"team_id": "t"})
        assert refused.value.refusal.status == 503 and "LITELLM_SALT_KEY" in refused.value.refusal.message
    else:
        assert SECRET not in world.texts()


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (entry(callback_name="nonsense"), "callback_name"),
        (entry(callback_name="lunary"), "callback_name"),
        (entry(callback_type="always"), "callback_type"),
        (entry(callback_vars={"langfuse_secret_key": "os.environ/OURS"}), "langfuse_secret_key"),
        (entry(callback_vars={"odd": "x"}), "odd"),
        (entry(callback_vars={"langfuse_secret_key": 5}), "langfuse_secret_key"),
        (entry(callback_vars=[]), "callback_vars"),
        ({}, "callback_name"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_changes_nothing(sent: dict[str, Any], param: str) -> None:
    world = Sealing(Team(team_id="t"))
    refused = world.call(ADD, sent, params={"team_id": "t"})
    assert isinstance(refused, Refusal) and refused.status == 400 and param in (refused.param or "")
    refused = world.call("/key/generate", {"token": digest("a"), "key_name": "x", "metadata": {"logging": [sent]}})
    assert isinstance(refused, Refusal) and refused.status == 400 and refused.param.startswith("metadata.logging[0]")
    assert world.facts == []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("arize_phoenix", "phoenix_api_key"), ("logfire", "logfire_token"), ("mlflow", "mlflow_tracking_token"),
        ("langsmith", "langsmith_api_key"), ("datadog", "dd_api_key"),
    ],
)  # fmt: skip
def test_others_credentials_are_sealed_and_masked_too(name: str, secret: str) -> None:
    world = Sealing(Team(team_id="t"))
    sent = {"callback_name": name, "callback_vars": {secret: SECRET}}
    answer = world.call(ADD, sent, params={"team_id": "t"})
    world.call("/key/generate", {"token": digest("a"), "key_name": "x", "metadata": {"logging": [sent]}})
    info = world.call("/key/info", query={"key": digest("a")})["info"]
    for shown in (answer["data"], info):
        assert shown["metadata"]["logging"][0]["callback_vars"] == {secret: callbacks.MASK}
    assert len(world.facts) == 2 and SECRET not in world.texts()


def test_a_mask_that_stands_for_nothing_is_refused() -> None:
    world = Sealing(Team(team_id="t"))
    with pytest.raises(RefusedError) as refused:
        world.call(ADD, entry(callback_vars={"langfuse_secret_key": "***"}), params={"team_id": "t"})
    assert refused.value.refusal.status == 400 and "mask" in refused.value.refusal.message


def test_only_who_keeps_the_team_sets_its_callbacks() -> None:
    world = Sealing(
        Team(team_id="t", members_with_roles=[{"role": "admin", "user_id": "ann"}, {"role": "user", "user_id": "bob"}])
    )
    for user, allowed in (("ann", True), ("bob", False), ("eve", False)):
        answer = world.call(ADD, entry(), params={"team_id": "t"}, actor=Caller(user_id=user))
        assert isinstance(answer, Refusal) is not allowed, user


def test_nothing_else_is_touched() -> None:
    change = Change("key", "k", "created", None, {"metadata": {"logging": "odd", "tags": ["a"]}}, 0)
    assert sealed.changes([change], None) == [change]
