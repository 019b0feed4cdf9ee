"""Pass-through endpoints made at run time: valid ones, one to a path and method, without anything
secret.
"""

from typing import Any

import pytest

from services.policy.commands import run
from services.policy.directory import Directory
from services.policy.plan import Call, Plan
from shared.errors import Refusal
from shared.facts import Caller, ControlFact
from tests.policy.test_policy_hub import catalog

ADMIN = Caller(user_id="default_user_id", role="proxy_admin")
GIVEN = {"path": "/made", "target": "https://example.com/x", "methods": ["POST"]}
PATH = "/config/pass_through_endpoint"


class World:
    def __init__(self) -> None:
        self.directory, self.seq = Directory(), 0

    def run(self, route: str, body: dict[str, Any] | None = None, *, id: str = "", **query: str) -> Plan | Refusal:
        call = Call(
            self.directory, query, body or {}, ADMIN, 1_000, lambda: f"id-{self.seq}", catalog(), route, {"endpoint_id": id}
        )  # fmt: skip
        plan = run(call)
        for change in plan.changes if isinstance(plan, Plan) else []:
            assert change.expected_seq == self.directory.expected_seq(change.subject)
            self.seq += 1
            fact = ControlFact("f", 1, change.kind, change.entity_id, change.action, ADMIN, change.before, change.after)
            self.directory.apply(change.subject, fact, self.seq)
        return plan

    def made(self, **changed: Any) -> dict[str, Any]:
        plan = self.run(f"POST {PATH}", {**GIVEN, **changed})
        assert isinstance(plan, Plan), plan
        row: dict[str, Any] = plan.answer["endpoints"][0]
        return row


def test_made_changed_shown_and_removed() -> None:
    world = World()
    row = world.made(cost_per_request=0.5)
    assert row == {**GIVEN, "cost_per_request": 0.5, "id": "id-0"}
    other = world.made(methods=["GET"])
    changed = world.run(PATH + "/{endpoint_id}", {"cost_per_request": None, "auth": False}, id=row["id"])
    assert isinstance(changed, Plan) and changed.answer["endpoints"] == [{**GIVEN, "auth": False, "id": "id-0"}]
    shown = world.run(PATH)
    assert isinstance(shown, Plan) and [each["id"] for each in shown.answer["endpoints"]] == ["id-0", other["id"]]
    one = world.run(PATH, endpoint_id="id-0")
    assert isinstance(one, Plan) and len(one.answer["endpoints"]) == 1
    gone = world.run(f"DELETE {PATH}", endpoint_id="id-0")
    assert isinstance(gone, Plan) and gone.changes[0].after is None
    again = world.run(f"DELETE {PATH}", endpoint_id="id-0")
    assert isinstance(again, Refusal) and again.status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "/key/generate"},
        {"path": "/chat/completions"},
        {"path": "made"},
        {"target": "ftp://x"},
        {"auth": "true"},
        {"unknown": 1},
        {"headers": {"Authorization": "x"}},
        {"headers": {"x-api-key": "x"}},
        {"headers": {"Cookie": "x"}},
        {"headers": {"X": "os.environ/HOME"}},
        {"headers": {"X": "a\nb"}},
        {"guardrails": {"pii": None}},
        {"path": "/taken"},
        {"target": "https://u:p@x/"},
        {"headers": {"X": "y" * 300_000}},
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(wrong: dict[str, Any]) -> None:
    world = World()
    world.made(path="/taken")
    plan = world.run(
        f"POST {PATH}", {**GIVEN, **{k: v.replace("\\n", "\n") if isinstance(v, str) else v for k, v in wrong.items()}}
    )
    assert isinstance(plan, Refusal) and plan.status in (400, 413), plan
    assert len(world.directory.tables["pass_through"]) == 1
