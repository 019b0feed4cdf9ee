"""Each command on keys: LiteLLM's shapes, what lands in the facts, and every refusal."""

from datetime import UTC, datetime

import msgspec
import pytest

from shared.config import ConfigError
from shared.entities import Key, Team
from shared.entities import readers as fields
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import CONFIG, NOW, World, digest, key, refusal, secret

A, B = digest("a"), digest("b")


MINTED = {"token": A, "key_name": "sk-...cdef"}


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def held(world: World) -> dict[str, str]:
    """Alias -> the key it is reserved for."""
    return {alias: reserved.token for alias, reserved in world.directory.reservations.items()}


# /key/generate


def test_generate_answers_in_litellms_shape_and_writes_one_fact() -> None:
    world = World()
    answer = world.call("/key/generate", {**MINTED, "permissions": {"hide_secrets": False}, "custom": {"x": 1}})
    assert answer["permissions"] == {"hide_secrets": False}
    assert answer["key"] == answer["token"] == answer["token_id"] == A
    assert (answer["key_name"], answer["spend"], answer["created_by"]) == ("sk-...cdef", 0.0, "default_user_id")
    assert answer["created_at"] == answer["updated_at"] == iso(NOW)
    assert answer["custom"] == {"x": 1}, "unknown fields are kept"
    (fact,) = world.facts
    assert (fact.kind, fact.entity_id, fact.action, fact.before) == ("key", A, "created", None)
    assert fact.after == msgspec.to_builtins(world.directory.keys[A])
    assert world.decide(secret("a"), model="gpt").caller.key_sha256 == A


@pytest.mark.parametrize(
    ("duration", "expires_ms"),
    [
        (None, None), ("-1", None), ("30s", NOW + 30_000), ("30m", NOW + 1_800_000), ("30h", NOW + 108_000_000),
        ("30d", NOW + 30 * 86_400_000), ("1w", NOW + 7 * 86_400_000), ("0s", NOW),
    ],
)  # fmt: skip
def test_duration(duration: str | None, expires_ms: int | None) -> None:
    answer = World().call("/key/generate", {**MINTED, "duration": duration})
    assert answer["expires"] == (None if expires_ms is None else iso(expires_ms))


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [("2027-01-31", "1mo", "2027-02-28"), ("2027-12-15", "1mo", "2028-01-15"), ("2028-01-31", "13mo", "2029-02-28")],
)
def test_a_month_is_a_calendar_month(start: str, duration: str, end: str) -> None:
    def ms(day: str) -> int:
        return int(datetime.fromisoformat(day + "T00:00:00+00:00").timestamp() * 1000)

    assert fields.end_of("duration", duration, ms(start)) == ms(end)


WRONG = [
    ("token", "sk-raw"), ("token", None), ("token", "A" * 64), ("models", "gpt"), ("models", [1]), ("models", [""]),
    ("models", ["m"] * 1001), ("metadata", "x"), ("metadata", {"tags": "x"}), ("metadata", {"tags": [1]}),
    ("metadata", {"tags": ["t"] * 65}), ("metadata", {"tags": ["t" * 257]}), ("metadata", {"spend_logs_metadata": []}),
    ("metadata", {"big": "x" * 70_000}), ("tags", "x"), ("tags", ["t"] * 65), ("blocked", "yes"), ("blocked", 1),
    ("max_budget", -1), ("max_budget", float("nan")), ("max_budget", float("inf")), ("max_budget", True),
    ("max_budget", "lots"), ("max_budget", [1]), ("max_budget", 10**12), ("soft_budget", -0.1), ("duration", "soon"),
    ("duration", 30), ("duration", "30x"), ("duration", "999999999mo"), ("duration", "999999999w"), ("key_alias", 7),
    ("key_alias", "../etc"), ("key_alias", "a\nb"), ("key_alias", "x" * 257), ("key_alias", " a"), ("team_id", "no-such"),
    ("team_id", []), ("user_id", {}), ("permissions", []), ("aliases", {"a": 1}), ("allowed_routes", "/x"),
    ("key_type", "huge"), ("tpm_limit", -1), ("tpm_limit", 1.5), ("rpm_limit", "x"), ("budget_duration", "x"),
    ("guardrails", "x"), ("router_settings", 1), ("budget_limits", [1]), ("auto_rotate", "x"),
    ("anything", float("nan")), ("anything", "\0"), ("anything", {"a": ["\ud800"]}), ("anything", 2**70),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{f}={str(v)[:20]}" for f, v in WRONG])
def test_wrong_values_name_their_field_and_write_nothing(field: str, value: object) -> None:
    world = World()
    status, code, param = refusal(world.call("/key/generate", {**MINTED, field: value}))
    assert status == 400 and code == "bad_request"
    assert param is not None and param.split(".")[0] == field
    assert world.facts == []


def test_too_much_is_refused() -> None:
    assert refusal(World().call("/key/generate", {**MINTED, "x": "x" * 300_000}))[:2] == (413, "body_too_large")
    world = World()
    world.call("/key/generate", MINTED)
    for part in range(3):
        answer = world.call("/key/update", {"key": A, f"part{part}": "x" * 100_000})
    assert refusal(answer)[:2] == (413, "body_too_large"), "what several calls add up to is bounded too"


def test_budgets_are_exact_integers() -> None:
    world = World()
    assert world.call("/key/generate", {**MINTED, "max_budget": 0.1})["max_budget"] == 0.1
    assert world.directory.keys[A].max_budget_picousd == 100_000_000_000
    assert world.call("/key/update", {"key": A, "max_budget": 0.1 + 0.2})["max_budget"] == 0.3
    assert world.call("/key/update", {"key": A, "max_budget": 10**9})["max_budget"] == 1e9
    assert world.call("/key/update", {"key": A, "max_budget": None})["max_budget"] is None
    assert refusal(world.call("/key/update", {"key": A, "max_budget": 1, "soft_budget": 1}))[2] == "soft_budget"


def test_generate_for_a_team_and_key_types() -> None:
    world = World(Team(team_id="t"))
    answer = world.call(
        "/key/generate", {**MINTED, "team_id": "t", "key_type": "llm_api", "tags": ["x"], "user_id": ""}
    )
    assert (answer["team_id"], answer["allowed_routes"], answer["user_id"]) == ("t", ["llm_api_routes"], None)
    assert answer["metadata"] == {"tags": ["x"]}
    assert [k.token for k in world.directory.team_keys("t")] == [A]
    assert refusal(world.call("/key/generate", MINTED))[:2] == (400, "bad_request"), "the same key twice"
    master = {**MINTED, "token": world.catalog.master_key.digest}
    assert refusal(world.call("/key/generate", master))[:2] == (400, "bad_request"), "the master key is nobody's"


# Aliases


def test_an_alias_is_one_keys_until_it_lets_go() -> None:
    world = World()
    world.call("/key/generate", {**MINTED, "key_alias": "prod"})
    assert [f.kind for f in world.facts] == ["key", "alias"], "the key first: see commands/aliases.py"
    assert world.facts[1].after == {"alias": "prod", "token": A}
    other = {"token": B, "key_name": "sk-...", "key_alias": "prod"}
    answer = world.call("/key/generate", other)
    assert refusal(answer) == (400, "bad_request", "key_alias")
    assert "Key with alias 'prod' already exists" in answer.message
    world.call("/key/update", {"key": A, "key_alias": "dev"})
    assert held(world) == {"dev": A}
    world.call("/key/generate", other)
    world.call("/key/delete", {"keys": [B]})
    assert held(world) == {"dev": A}
    world.call("/key/update", {"key": A, "key_alias": None})
    assert held(world) == {} and world.directory.keys[A].key_alias is None


def test_an_abandoned_reservation_may_be_taken_over() -> None:
    world = World(key("b"))
    world.fold("alias", "gone", {"alias": "gone", "token": digest("never-written")})
    world.fold("alias", "renamed", {"alias": "renamed", "token": B})
    world.call("/key/generate", {**MINTED, "key_alias": "gone"})
    world.call("/key/update", {"key": A, "key_alias": "renamed"})
    assert held(world) == {"renamed": A}
    assert [f.action for f in world.facts if f.kind == "alias"] == ["updated", "updated", "deleted"]


# /key/update


def test_update_merges_and_null_clears() -> None:
    world = World(Team(team_id="t"))
    created = {**MINTED, "models": ["gpt"], "metadata": {"a": 1, "tags": ["x"]}, "tpm_limit": 5, "team_id": "t"}
    world.call("/key/generate", {**created, "duration": "1d", "user_id": "u", "custom": 1})
    answer = world.call("/key/update", {"key": A, "models": ["mini"]}, now_ms=NOW + 5)
    assert answer["key"] == A and answer["models"] == ["mini"]
    assert (answer["metadata"], answer["tpm_limit"], answer["user_id"]) == ({"a": 1, "tags": ["x"]}, 5, "u")
    assert (answer["created_at"], answer["updated_at"]) == (iso(NOW), iso(NOW + 5))
    assert world.call("/key/update", {"key": A, "tags": ["y"]})["metadata"] == {"a": 1, "tags": ["y"]}
    assert world.call("/key/update", {"key": A, "metadata": {"b": 2}})["metadata"] == {"b": 2}
    nulls = dict.fromkeys(["models", "metadata", "tpm_limit", "team_id", "user_id", "duration", "custom"])
    answer = world.call("/key/update", {"key": A, **nulls})
    assert (answer["models"], answer["metadata"], answer["tpm_limit"]) == ([], {}, None)
    assert (answer["team_id"], answer["user_id"], answer["expires"]) == (None, None, None)
    assert "custom" not in answer
    fact = world.facts[-1]
    assert fact.action == "updated" and fact.before is not None and fact.before["team_id"] == "t"
    assert world.directory.team_keys("t") == []


def test_a_chosen_alias_matches_the_pattern_and_one_of_before_stays() -> None:
    text = CONFIG.replace("litellm_settings:", "litellm_settings:\n  key_alias_pattern: '[a-z]+-[0-9]+'")
    world = World(key("old", key_alias="Before"), text=text)
    for alias, fine in (("team-7", True), ("team", False), ("team-7 ", False), ("xx team-7", False)):
        answer = world.call("/key/generate", {"token": digest(alias), "key_alias": alias})
        assert isinstance(answer, Refusal) is not fine, alias
        assert fine or (answer.status == 400 and answer.param == "key_alias")
    assert isinstance(world.call("/key/update", {"key": digest("old"), "key_alias": "Other"}), Refusal)
    assert world.call("/key/update", {"key": digest("old"), "models": ["gpt"]})["key_alias"] == "Before"
    with pytest.raises(ConfigError, match="key_alias_pattern is no regular expression"):
        World(text=CONFIG.replace("litellm_settings:", "litellm_settings:\n  key_alias_pattern: '('"))


def test_update_by_alias_does_not_rename() -> None:
    world = World(key("a", key_alias="prod"))
    answer = world.call("/key/update", {"key_alias": "prod", "models": ["gpt"]})
    assert (answer["key"], answer["key_alias"], answer["models"]) == ("prod", "prod", ["gpt"])
    assert refusal(world.call("/key/update", {"key_alias": "nope"})) == (404, "entity_not_found", "key")
    assert refusal(world.call("/key/update", {"key": B})) == (404, "entity_not_found", "key")
    assert refusal(world.call("/key/update", {"models": []})) == (400, "bad_request", "key")


def test_nobody_sets_what_is_ours() -> None:
    world = World(key("a", created_by="root"))
    forged = {
        "token": B,
        "created_by": "me",
        "created_at": "x",
        "key_name": "y",
        "expires": "never",
        "status": "active",
    }
    answer = world.call("/key/update", {"key": A, **forged})
    assert (answer["token"], answer["created_by"], answer["key_name"], answer["expires"]) == (
        A,
        "root",
        "sk-...cdef",
        None,
    )
    assert world.directory.keys[A].extra == {}


# /key/delete, /key/block


def test_delete_names_what_was_there() -> None:
    world = World(key("a", key_alias="prod"), key("b"))
    assert world.call("/key/delete", {"keys": [A, digest("nobody"), A]}) == {"deleted_keys": [A]}
    assert [(f.kind, f.action, f.after) for f in world.facts] == [("key", "deleted", None), ("alias", "deleted", None)]
    assert world.facts[0].before is not None
    answer = world.call("/key/delete", {"keys": [A]})
    assert refusal(answer) == (404, "entity_not_found", "keys") and answer.message == "No keys found"
    for body in ({}, {"keys": []}, {"keys": A}, {"keys": [1]}, {"keys": ["x"] * 1001}):
        assert refusal(world.call("/key/delete", body))[0] == 400
    world.hold(key("c", key_alias="dev"))
    assert world.call("/key/delete", {"key_aliases": ["dev", "prod"]}) == {"deleted_keys": ["dev"]}
    assert set(world.directory.keys) == {B}


def test_block_and_unblock() -> None:
    world = World(key("a"))
    assert world.call("/key/block", {"key": A})["blocked"] is True
    assert world.decide(secret("a"), model="gpt").refusal.code == "blocked_key"
    world.call("/key/block", {"key": A})
    assert world.call("/key/unblock", {"key": A})["blocked"] is False
    assert [f.action for f in world.facts] == ["blocked", "blocked", "unblocked"]
    assert refusal(world.call("/key/block", {"key": B}))[0] == 404
    assert refusal(world.call("/key/block", {}))[0] == 400


# /key/info, /key/list


OWNER = Caller(key_sha256=A, user_id="u", team_id="t")


def test_info_of_ones_own_and_others() -> None:
    team = Team(team_id="t", members_with_roles=[{"role": "user", "user_id": "u"}])
    world = World(
        team, Team(team_id="other"), key("a", user_id="u", team_id="t"), key("b", user_id="u"),
        key("mate", team_id="t"), key("stranger", team_id="other", blocked=True),
    )  # fmt: skip
    own = world.call("/key/info", actor=OWNER)
    assert own["key"] == A and "token" not in own["info"] and own["info"]["status"] == "active"
    for name in ("b", "mate"):
        assert world.call("/key/info", query={"key": digest(name)}, actor=OWNER)["key"] == digest(name)
    assert refusal(world.call("/key/info", query={"key": digest("stranger")}, actor=OWNER))[:2] == (403, "not_yours")
    assert world.call("/key/info", query={"key": digest("stranger")})["info"]["status"] == "revoked"
    assert refusal(world.call("/key/info", query={"key": "nope"}))[:2] == (404, "entity_not_found")
    lone = Caller(key_sha256=digest("mate"))
    assert refusal(world.call("/key/info", query={"key": A}, actor=lone))[:2] == (403, "not_yours")
    assert refusal(world.call("/key/info", actor=Caller()))[0] == 400


def test_list_pages_filters_and_scopes() -> None:
    keys = [key(f"k{n:02}", created_at_ms=NOW + n, user_id="u" if n % 2 else None) for n in range(25)]
    late = key("late", key_alias="prod-eu", expires_at_ms=NOW - 1, team_id="t", created_by="u")
    world = World(Team(team_id="t"), key("a", user_id="u"), *keys, late)
    answer = world.call("/key/list")
    assert (answer["total_count"], answer["current_page"], answer["total_pages"]) == (27, 1, 3)
    assert answer["keys"][:2] == [digest("k24"), digest("k23")], "newest first"
    pages = [world.call("/key/list", query={"page": str(p), "size": "10"})["keys"] for p in (1, 2, 3, 4)]
    assert len({k for page in pages for k in page}) == 27 and pages[3] == []
    assert world.call("/key/list", query={"sort_order": "asc", "sort_by": "key_alias"})["keys"][0] == digest("late")
    for query, count in (
        ({"user_id": "u"}, 13), ({"team_id": "t"}, 1), ({"key_alias": "prod"}, 0), ({"key_hash": A}, 1), ({"search": "prod"}, 1),
        ({"key_alias": "prod", "substring_matching": "true"}, 1), ({"status": "expired"}, 1), ({"key_hash": "x"}, 0),
    ):  # fmt: skip
        assert world.call("/key/list", query=query)["total_count"] == count, query
    full = world.call("/key/list", query={"return_full_object": "true", "key_alias": "prod-eu"})["keys"]
    assert full[0]["token"] == digest("late") and full[0]["key_alias"] == "prod-eu"
    assert world.call("/key/list", actor=OWNER)["total_count"] == 13, "one's own only"
    assert world.call("/key/list", query={"user_id": "somebody"}, actor=OWNER)["total_count"] == 0
    assert world.call("/key/list", query={"include_created_by_keys": "true"}, actor=OWNER)["total_count"] == 14
    assert world.call("/key/list", actor=Caller())["total_count"] == 0, "nobody owns nothing"


@pytest.mark.parametrize(
    "query",
    [{"page": "0"}, {"page": "x"}, {"size": "101"}, {"size": "-1"}, {"size": "٣"}, {"status": "x"}, {"expires": "revoked"},
     {"sort_by": "metadata"}, {"sort_order": "up"}, {"return_full_object": "maybe"}],
)  # fmt: skip
def test_list_refuses_wrong_queries_also_with_no_keys(query: dict) -> None:
    assert refusal(World().call("/key/list", query=query))[2] == next(iter(query))


def test_entities_survive_the_wire_unchanged() -> None:
    world = World(Team(team_id="t"))
    body = {"models": ["gpt"], "max_budget": 1.5, "metadata": {"ü": [1, 2.5, None, {"x": "y"}]}, "team_id": "t", "x": 1}
    world.call("/key/generate", {**MINTED, **body, "duration": "1d", "aliases": {"a": "b"}, "key_alias": "k"})
    stored = world.directory.keys[A]
    assert msgspec.convert(world.facts[0].after, Key) == stored
    assert stored.metadata == body["metadata"] and stored.max_budget_picousd == 1_500_000_000_000
