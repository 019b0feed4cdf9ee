"""What users of other gateways reported of keys, teams, users, customers and budgets: one row a
report.
"""

from typing import Any

import pytest

from shared.errors import Refusal
from tests.policy.world import NOW, World, digest, key, refusal

DAY = 86_400_000
MINTED = {"token": digest("n"), "key_name": "sk-...n"}
OLD = {"key": digest("k")}


# ── rotation ──


def test_an_expired_keys_successor_is_not_dead_at_once() -> None:
    w = World(key("k", expires_at_ms=NOW))
    assert refusal(w.call("/key/regenerate", {**OLD, **MINTED})) == (400, "bad_request", "duration")
    assert digest("k") in w.directory.keys
    assert w.call("/key/regenerate", {**OLD, **MINTED, "duration": "1d"})["key"] == digest("n")
    assert w.directory.keys[digest("n")].expires_at_ms == NOW + DAY


def test_one_that_has_time_left_keeps_its_end() -> None:
    w = World(key("k", expires_at_ms=NOW + 1))
    w.call("/key/regenerate", {**OLD, **MINTED})
    assert w.directory.keys[digest("n")].expires_at_ms == NOW + 1


# ── what isn't said stays ──

KEPT: dict[str, Any] = {
    "key_alias": "a", "models": ["gpt"], "max_budget": 3.5, "budget_duration": "30d", "rpm_limit": 9, "tpm_limit": 8, "max_parallel_requests": 2,
    "metadata": {"a": [1, {"b": None}], "tags": ["t"]}, "aliases": {"z": "gpt"}, "permissions": {"p": True}, "allowed_routes": ["/models"],
    "soft_budget": 1.0, "blocked": False,
}  # fmt: skip


@pytest.mark.parametrize(
    "update",
    [
        {"models": []},
        {"max_budget": None},
        {"metadata": {}},
        {"tpm_limit": 1},
        {"key_alias": "a"},
        {"aliases": {}},
        {"blocked": True},
    ],
)
def test_an_update_changes_what_it_names_and_nothing_else(update: dict[str, Any]) -> None:
    w = World()
    w.call("/key/generate", {"token": digest("k"), "key_name": "sk-...k", **KEPT})
    before = w.call("/key/info", query={"key": digest("k")})["info"]
    assert not isinstance(w.call("/key/update", {**OLD, **update}), Refusal)
    after = w.call("/key/info", query={"key": digest("k")})["info"]
    changed = {name for name in before if before[name] != after[name]} - {"updated_at", "updated_by", "status"}
    assert changed <= set(update), changed


BOTH: dict[str, Any] = {"models": ["gpt"], "max_budget": 5, "budget_duration": "7d", "metadata": {"a": 1}}


@pytest.mark.parametrize(
    ("new", "info", "update", "fields"),
    [
        ("/team/new", "/team/info", "/team/update", {"team_id": "x", "team_alias": "A", "tpm_limit": 3, **BOTH}),
        ("/user/new", "/user/info", "/user/update", {"user_id": "x", "user_email": "A@x.org", "auto_create_key": False, **BOTH}),
    ],
)  # fmt: skip
def test_what_was_read_may_be_written_back(new: str, info: str, update: str, fields: dict[str, Any]) -> None:
    """Interfaces read a whole row, change a field of it, and send all of it."""
    w, name = World(), new.split("/")[1]
    assert not isinstance(w.call(new, fields), Refusal)
    before = w.call(info, query={f"{name}_id": "x"})[f"{name}_info"]
    assert not isinstance(w.call(update, before), Refusal)
    after = w.call(info, query={f"{name}_id": "x"})[f"{name}_info"]
    assert {field for field in before if before[field] != after[field]} <= {"updated_at"}


# ── odd values are refused with their name, everywhere ──


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/key/generate", {"token": digest("k"), "key_name": "sk-...k"}),
        ("/team/new", {"team_alias": "t"}),
        ("/user/new", {"user_id": "u", "auto_create_key": False}),
        ("/budget/new", {"budget_id": "b"}),
        ("/customer/new", {"user_id": "c"}),
        ("/organization/new", {"organization_alias": "o"}),
    ],
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_budget", -7),
        ("max_budget", "abc"),
        ("max_budget", float("1e308")),
        ("budget_duration", "1h30m"),
        ("budget_duration", "P1M"),
        ("budget_duration", "-1d"),
        ("budget_duration", "1.5h"),
        ("rpm_limit", 1.5),
        ("tpm_limit", 1e30),
    ],
)
def test_an_odd_value_names_its_field(route: str, body: dict[str, Any], field: str, value: Any) -> None:
    w = World()
    status, _, param = refusal(w.call(route, {**body, field: value}))
    assert (status, param) == (400, field) and not w.facts


def test_a_keys_month_is_a_month_from_now() -> None:
    w = World()
    w.call("/key/generate", {"token": digest("k"), "key_name": "sk-...k", "duration": "1mo"})
    end = w.directory.keys[digest("k")].expires_at_ms
    assert end is not None and 27 * DAY < end - NOW < 32 * DAY
