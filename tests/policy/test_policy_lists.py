"""Pages of lists: the same as a sort of everything, and as dear with a hundred times the
entities.
"""

import random
import time
from typing import Any

import pytest

from shared.entities import Customer, Key, Team, User
from shared.facts import Caller
from tests.policy.world import NOW, World, digest, key, refusal

STATUSES = ("active", "expired", "revoked")


def world(count: int) -> World:
    draw = random.Random(7)
    keys = [
        key(
            f"k{i}", created_at_ms=NOW - draw.randrange(1000), key_alias=None if i % 5 == 0 else f"Alias-{draw.randrange(10**6)}-{i}",
            team_id=f"t{i % 3}" if i % 2 else None, user_id=f"u{i % 7}" if i % 3 else None, blocked=i % 11 == 0,
            expires_at_ms=None if i % 4 else NOW + draw.randrange(-1000, 1000), updated_at_ms=draw.randrange(100),
            created_by=f"u{i % 5}", replaced_by=digest("k1") if i % 13 == 0 else None,
        )
        for i in range(count)
    ]  # fmt: skip
    return World(*keys)


def by_hand(w: World, query: dict[str, str], actor: Caller | None = None) -> list[str]:
    """Every key, filtered and sorted."""
    by = query.get("sort_by", "created_at")
    attribute = {"created_at": "created_at_ms", "updated_at": "updated_at_ms", "expires": "expires_at_ms"}.get(by, by)
    descending = query.get("sort_order", "desc") == "desc"

    def state(k: Key) -> str:
        return (
            "revoked"
            if k.blocked
            else "expired"
            if k.expires_at_ms is not None and k.expires_at_ms <= NOW
            else "active"
        )

    found = [
        k
        for k in w.directory.keys.values()
        if k.replaced_by is None
        and all(getattr(k, name) == query[name] for name in ("user_id", "team_id") if name in query)
        and query.get("search", "").lower() in (k.key_alias or "").lower()
        and ("status" not in query or state(k) == query["status"])
        and (
            actor is None
            or k.user_id == actor.user_id
            or (query.get("include_created_by_keys") and k.created_by == actor.user_id)
        )
    ]
    having = sorted(
        (k for k in found if getattr(k, attribute) is not None),
        key=lambda k: (getattr(k, attribute), k.token),
        reverse=descending,
    )
    return [*(k.token for k in having), *sorted(k.token for k in found if getattr(k, attribute) is None)]


QUERIES: list[dict[str, str]] = [
    {}, {"sort_by": "key_alias"}, {"sort_by": "key_alias", "sort_order": "asc"}, {"sort_by": "expires", "sort_order": "asc"},
    {"sort_by": "updated_at"}, {"sort_by": "team_id"}, {"sort_by": "token", "sort_order": "asc"}, {"team_id": "t1"}, {"user_id": "u3"},
    {"user_id": "u3", "team_id": "t1"}, {"search": "alias-1"}, {"search": "LIAS", "sort_by": "key_alias"}, {"search": "nothing"},
    *({"status": each} for each in STATUSES), {"status": "active", "sort_by": "expires"}, {"status": "expired", "search": "9"},
    {"status": "deleted"},
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_the_pages_together_are_the_whole_in_order(query: dict[str, str]) -> None:
    w = world(300)
    for change in range(3):
        found: list[str] = []
        for number in range(1, 60):
            answer = w.call("/key/list", query={**query, "page": str(number), "size": "7"})
            if not answer["keys"]:
                break
            found += answer["keys"]
        assert found == by_hand(w, query)
        assert answer["total_count"] == len(found)
        w.call("/key/update", {"key": digest(f"k{change * 3 + 1}"), "key_alias": f"changed-{change}", "blocked": True})
        w.call("/key/delete", {"keys": [digest(f"k{change * 3 + 2}")]})
        w.call(
            "/key/generate", {"token": digest(f"new{change}"), "key_name": "sk-...", "key_alias": f"alias-1-{change}"}
        )


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_pages_go_on_where_the_one_before_ended(query: dict[str, str]) -> None:
    """Whatever came, changed or went in between: nothing that stayed is missed or comes twice."""
    w = world(300)
    wanted, found = by_hand(w, query), list[str]()
    going_on: dict[str, str] = {}
    while True:
        answer = w.call("/key/list", query={**query, "size": "7", **going_on})
        found += answer["keys"]
        if not answer["next_cursor"]:
            break
        going_on = {"cursor": answer["next_cursor"], "page": "9"}
        w.call("/key/delete", {"keys": [found[-1]]})  # the very key that the cursor is of
        new = digest(f"new{len(found)}")
        w.call("/key/generate", {"token": new, "key_name": "sk-...", "key_alias": f"alias-1-{len(found)}"})
    made = {digest(f"new{count}") for count in range(400)}
    assert [token for token in found if token not in made] == wanted
    assert len(found) == len(set(found))


@pytest.mark.parametrize("cursor", ["x", "[1]", '[[],"a"]', '["a","b"]', "[1,2]", "{}", "\ud800", '[1e400,"a"]'])
def test_a_cursor_of_somebody_elses(cursor: str) -> None:
    for path in ("/key/list", "/user/list", "/v2/team/list"):
        w = World(*(User(user_id=f"u{i}", created_at_ms=NOW) for i in range(9)), *(Team(team_id=f"t{i}", created_at_ms=NOW) for i in range(9)),
                  *world(9).directory.keys.values())  # fmt: skip
        answer = w.plan(path, query={"cursor": cursor, "sort_by": "created_at"})
        assert refusal(answer)[0] == 400, path


@pytest.mark.parametrize(
    "query", [{}, {"include_created_by_keys": "true"}, {"status": "active"}, {"search": "alias-1"}], ids=str
)
def test_who_does_not_see_all_finds_their_own(query: dict[str, str]) -> None:
    w, actor = world(300), Caller(user_id="u3")
    answer = w.call("/key/list", query={**query, "size": "100"}, actor=actor)
    assert answer["keys"] == by_hand(w, query, actor)[:100] and answer["total_count"] == len(by_hand(w, query, actor))


def test_aliases_in_order_a_page_at_a_time() -> None:
    w = world(200)
    every = sorted(k.key_alias for k in w.directory.keys.values() if k.key_alias and k.replaced_by is None)
    found: list[str] = []
    for number in range(1, 20):
        found += w.call("/key/aliases", query={"page": str(number), "size": "13"})["aliases"]
    assert found == every
    answer = w.call("/key/aliases", query={"search": "alias-1", "size": "500"})
    assert answer["aliases"] == [name for name in every if "alias-1" in name.lower()]
    own = w.call("/key/aliases", query={"size": "500"}, actor=Caller(user_id="u3"))["aliases"]
    assert own == sorted(
        k.key_alias for k in w.directory.keys.values() if k.key_alias and k.replaced_by is None and k.user_id == "u3"
    )


def test_users_and_customers_by_page() -> None:
    w = World(*(User(user_id=f"u{i:03}", user_email=f"U{i}@example.com", created_at_ms=NOW + i % 9) for i in range(60)),
              *(Customer(user_id=f"c{i:03}", blocked=i % 10 == 0) for i in range(60)))  # fmt: skip
    found = [
        u["user_id"]
        for n in (1, 2, 3)
        for u in w.call("/user/list", query={"page": str(n), "page_size": "25"})["users"]
    ]
    wanted = sorted(w.directory.users.values(), key=lambda u: (u.created_at_ms, u.user_id), reverse=True)
    assert found == [u.user_id for u in wanted]
    first = w.call("/user/list", query={"page_size": "41"})
    second = w.call("/user/list", query={"page_size": "41", "cursor": first["next_cursor"]})
    assert [u["user_id"] for u in first["users"] + second["users"]] == found and second["next_cursor"] is None
    assert [u["user_id"] for u in w.call("/user/list", query={"user_email": "u7@"})["users"]] == ["u007"]
    assert w.call("/user/list", query={"role": "internal_user"})["total"] == 60
    assert w.call("/user/list", query={"user_ids": "u001,u002,x", "role": "proxy_admin"})["total"] == 0
    pages = [c["user_id"] for n in (1, 2) for c in w.call("/customer/list", query={"page": str(n), "size": "30"})]
    assert pages == [f"c{i:03}" for i in range(60)]

    def customers(**query: str) -> list[str]:
        return [c["user_id"] for c in w.call("/customer/list", query=query)]

    assert customers(after="c009", size="3") == ["c010", "c011", "c012"]
    assert customers(after="c010x", size="1") == ["c011"], "whoever was last may be gone"
    assert customers(after="c059") == [] and customers(after="", size="1") == ["c000"]
    assert customers(search="C05") == [f"c05{i}" for i in range(10)]
    assert customers(search="c05", after="c057") == ["c058", "c059"]
    w.hold(Customer(user_id="z", alias="Acme c05 Ltd"))
    assert customers(search="acme") == ["z"] and "z" in customers(search="c05")
    assert w.call("/customer/unblock", {"user_ids": ["c000"]})["blocked_users"] == [
        f"c{i:03}" for i in range(10, 60, 10)
    ]


LISTS: list[tuple[str, dict[str, str], str]] = [
    ("/key/list", {}, "admin"), ("/key/list", {"sort_by": "key_alias", "page": "3"}, "admin"), ("/key/list", {"status": "active"}, "admin"),
    ("/key/list", {"search": "alias-77-"}, "admin"), ("/key/list", {"user_id": "u1"}, "admin"), ("/key/list", {}, "u1"),
    ("/key/aliases", {}, "admin"), ("/key/aliases", {"search": "alias-77-"}, "admin"), ("/key/aliases", {}, "u1"),
    ("/user/list", {}, "admin"), ("/customer/list", {"size": "10"}, "admin"),
]  # fmt: skip


@pytest.mark.alone
def test_a_page_costs_the_same_with_a_hundred_times_the_entities() -> None:
    """By operations, not by the clock: no list may touch most of a table. Measured by what it reads
    of the tables.
    """
    spent: dict[int, list[float]] = {}
    for count in (200, 20_000):
        entities: list[Any] = [User(user_id=f"u{i}", created_at_ms=i) for i in range(count)]
        entities += [Customer(user_id=f"c{i}") for i in range(count)]
        entities += [
            key(f"k{i}", key_alias=f"alias-{i}-", user_id=f"u{i // 10}", created_at_ms=NOW + i, team_id=f"t{i % 100}")
            for i in range(count)
        ]
        w = World()
        for entity in entities:
            _fold(w, entity)
        for route, query, who in LISTS:
            actor = {} if who == "admin" else {"actor": Caller(user_id=who)}
            w.plan(route, query=query, **actor)  # orders are made once
            best = min(_took(w, route, query, actor) for _ in range(5))
            spent.setdefault(count, []).append(best)
    for (route, query, who), small, large in zip(LISTS, *spent.values(), strict=True):
        print(f"{route} {query} {who}: {small * 1e6:.0f} µs of 200, {large * 1e6:.0f} µs of 20,000")
        assert large < 6 * small + 0.001, (route, query, who, small, large)


def _took(w: World, route: str, query: dict[str, str], actor: dict[str, Any]) -> float:
    start = time.thread_time()
    w.plan(route, query=query, **actor)
    return time.thread_time() - start


def _fold(w: World, entity: Any) -> None:
    from shared.entities import KINDS

    kind = next(kind for kind in KINDS.values() if kind.struct is type(entity))
    w.directory._put(kind.name, kind.id_of(entity), entity)


def test_keys_are_found_by_a_tag() -> None:
    """As it is now; what callers stored in its place and is no tag finds nothing."""
    w = World(
        key("a", metadata={"tags": ["web", "nightly"]}, user_id="ann"), key("b", metadata={"tags": ["web"]}, user_id="bob"),
        key("c", metadata={"tags": "web"}), key("d", metadata={"tags": [["web"], 7, None]}), key("e", key_alias="web"),
    )  # fmt: skip

    admin = Caller(user_id="root", role="proxy_admin")

    def found(actor: Caller = admin, **query: str) -> set[str]:
        return set(w.call("/key/list", query=query, actor=actor)["keys"])

    assert found(tag="web") == {digest("a"), digest("b")}
    assert found(tag="web", user_id="ann") == {digest("a")}
    assert found(tag="we") == found(tag="7") == set()
    assert found(Caller(digest("b"), user_id="bob", role="internal_user"), tag="web") == {digest("b")}
    w.call("/key/update", {"key": digest("b"), "metadata": {"tags": ["nightly"]}})
    assert found(tag="web") == {digest("a")} and found(tag="nightly") == {digest("a"), digest("b")}
