"""What a key counts as having spent, where somebody says it; and whether it has what it needs to
send its calls away.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from services.policy import spent
from services.policy.admin import Admin
from services.policy.plan import Wanted
from shared.entities import Team
from shared.errors import Refusal
from shared.facts import Caller
from shared.ids import digest_key
from shared.requests import AdminRequest
from tests.policy.samples import BOSS, MEMBER, OWNER, world
from tests.policy.world import MASTER_KEY, World, digest, key

USD = 10**12
A = digest("a")


def shown(w: World, token: str) -> float:
    """As the book's sums make it, and the answer of /key/info says."""
    plan = w.plan("/key/info", query={"key": token})
    (row,) = plan.spend
    return (sum(w.spent.get(each, 0) for each in row.values) + row.offset_picousd) / USD


def reset(w: World, to: Any, actor: Caller | None = None) -> Any:
    more = {} if actor is None else {"actor": actor}
    return w.call("/key/{key_id}/reset_spend", {"reset_to": to}, params={"key": A}, **more)


def test_a_keys_spend_is_set_and_what_comes_after_counts_on() -> None:
    w = world()
    w.spent[A] = 7 * USD
    assert shown(w, A) == 7
    answer = reset(w, 2.5)
    assert (answer["key_hash"], answer["previous_spend"], answer["spend"]) == (A, 7.0, 2.5)
    assert shown(w, A) == 2.5
    w.spent[A] += USD
    assert shown(w, A) == 3.5
    assert reset(w, 0)["previous_spend"] == 3.5 and shown(w, A) == 0
    w.call("/key/update", {"key": A, "spend": 9})
    assert shown(w, A) == 9
    w.call("/key/update", {"key": A, "metadata": {}})
    assert shown(w, A) == 9 and "spend" not in w.directory.keys[A].extra


def test_it_stays_so_through_a_rotation() -> None:
    w = world()
    w.spent[A] = 7 * USD
    reset(w, 1)
    w.call("/key/regenerate", {"token": digest("next"), "key_name": "sk-...cdef", "key": A})
    assert shown(w, digest("next")) == 1
    w.spent[digest("next")] = USD
    assert shown(w, digest("next")) == 2


def test_a_new_key_may_begin_with_some() -> None:
    w = world()
    w.call("/key/generate", {"token": digest("n"), "key_name": "sk-...cdef", "spend": 3})
    assert shown(w, digest("n")) == 3


@pytest.mark.parametrize("wrong", [None, -1, "much", True, 7.1, [], float("nan"), 10**400])
def test_what_is_no_such_amount_changes_nothing(wrong: Any) -> None:
    w = world()
    w.spent[A] = 7 * USD
    refused = reset(w, wrong)
    assert isinstance(refused, Refusal) and refused.status == 400 and not w.facts


def test_only_who_looks_after_a_key_sets_its_spend() -> None:
    w = world()
    w.spent[A] = USD
    for who in (OWNER, MEMBER):
        assert isinstance(reset(w, 0, Caller(user_id=who)), Refusal)
        refused = w.call("/key/update", {"key": A, "spend": 0}, actor=Caller(user_id=who))
        assert isinstance(refused, Refusal) and refused.status == 403, who
    assert not w.facts
    assert reset(w, 0, Caller(user_id=BOSS))["spend"] == 0


def test_many_at_once_is_refused_each_by_itself() -> None:
    w = world()
    done = w.call("/key/bulk_update", {"keys": [{"key": A, "spend": 1}, {"key": digest("b"), "metadata": {"x": 1}}]})
    assert "reset_spend" in done["failed_updates"][0]["failed_reason"] and len(done["successful_updates"]) == 1


def test_a_spend_of_the_time_when_it_was_only_kept_changes_nothing_more() -> None:
    w = World(key("a", user_id=OWNER, extra={"spend": 5.0}))
    w.spent[A] = USD
    w.call("/key/update", {"key": A, "metadata": {"x": 1}}, actor=Caller(user_id=OWNER))
    assert w.directory.keys[A].metadata == {"x": 1} and shown(w, A) == 1


async def test_a_key_that_is_rotated_while_the_book_is_asked_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World(key("a"))

    async def of(client: Any, wanted: Wanted) -> int:
        w.hold(key("a", previous_tokens=[*wanted.values, digest(f"before-{len(wanted.values)}")]))
        return 0

    async def reach(seq: int) -> None: ...

    monkeypatch.setattr(spent, "of", of)
    replica: Any = SimpleNamespace(directory=w.directory, feed=SimpleNamespace(seq=1), reach=reach)
    current: Any = SimpleNamespace(catalog=w.catalog)
    nobody: Any = None
    question = AdminRequest(digest_key(MASTER_KEY), "/key/{key_id}/reset_spend", {}, {"reset_to": 0}, params={"key": A})
    reply = await Admin(nobody, replica, current).answer(question)
    assert reply.status == 409


def test_where_others_spend_is_given_it_is_said_not_to_bind() -> None:
    w = World(Team(team_id="t"))
    assert w.plan("/team/update", {"team_id": "t", "spend": 1}).not_enforced == ["spend"]


def entry(name: str = "langfuse", **variables: str) -> dict[str, Any]:
    return {"callback_name": name, "callback_type": "success", "callback_vars": variables}


def test_a_keys_health_is_what_it_lacks_to_send_its_calls() -> None:
    whole = entry(langfuse_public_key="pk", langfuse_secret_key="sk-lf")
    w = World(
        key("plain"),
        key("whole", metadata={"logging": [whole]}),
        key("half", metadata={"logging": [whole, entry(langfuse_public_key="pk"), entry("s3"), entry("webhook")]}),
    )

    def health(name: str) -> dict[str, Any]:
        return dict(w.call("/key/health", actor=Caller(key_sha256=digest(name))))

    assert health("plain") == {"key": "healthy", "logging_callbacks": None}
    assert health("whole")["key"] == "healthy" and health("whole")["logging_callbacks"]["callbacks"] == ["langfuse"]
    half = health("half")
    assert half["key"] == half["logging_callbacks"]["status"] == "unhealthy"
    details = half["logging_callbacks"]["details"]
    for said in (
        "langfuse_secret_key or",
        "s3 can be set in the configuration only",
        "webhook needs generic_logger_endpoint",
    ):
        assert said in details
    assert w.call("/key/health") == {"key": "healthy", "logging_callbacks": None}, "the master key"
